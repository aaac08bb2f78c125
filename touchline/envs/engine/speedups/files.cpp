// Files are read in one piece instead of character by character. Exact: the bytes are the same.

// @top cmake/file.cpp
#include <cstdio>

// @replace cmake/file.cpp GetFile
std::string GetFile(const std::string &fileName) {
  std::string content;
  FILE* file = std::fopen(fileName.c_str(), "rb");
  if (!file) return content;
  char block[1 << 14];
  while (const size_t count = std::fread(block, 1, sizeof(block), file)) content.append(block, count);
  std::fclose(file);
  return content;
}
