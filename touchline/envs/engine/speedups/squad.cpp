// A team makes the data of eleven players at every reset and keeps those of its line-up; here the others are freed.
//
// Upstream only drops their pointers: 240 bytes a player that a drill does not field, at every reset, for ever.
//
// Exact: nothing points to them any more.

// @rename data/teamdata.cpp TeamData::TeamData playerData listed 12

// @enter data/teamdata.cpp TeamData::TeamData
  struct {
    std::vector<PlayerData *> &players;
    void push_back(PlayerData *player) { players.push_back(player); }
    void resize(size_t size) {
      for (; players.size() > size; players.pop_back()) delete players.back();
    }
  } listed{playerData};
