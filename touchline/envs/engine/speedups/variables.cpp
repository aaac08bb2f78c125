// The two variables of an animation that are read each time one is chosen are kept beside it, not looked up by name.
//
// Every animation has a tree of some forty names and texts; a look-up touches a dozen cold lines of memory. How hard the
// animation is ("animdifficultyfactor") is kept as text, the number of steps, which says what foot comes next, as `atoi`
// reads it.
//
// Exact: variables are written by one function, which sets these too; a copy of an animation copies them. Upstream's
// mirroring of variables works on copies of the values and leaves the values as they are.

// @members utils/animation.hpp VariableCache
   public:
    const std::string &Difficulty() const { return difficulty; }
    int Steps() const { return steps; }

   private:
    std::string difficulty;
    int steps = 1;

// @enter utils/animation.hpp set
      if (key == "animdifficultyfactor") difficulty = value;
      if (key == "steps") steps = value.empty() ? 1 : atoi(value.c_str());

// @top utils/animation.cpp
#include <cstring>

// @replace utils/animation.cpp Animation::GetVariable
const std::string Animation::GetVariable(const char *name) const {
    if (std::strcmp(name, "animdifficultyfactor") == 0) return variableCache.Difficulty();
    return variableCache.get(name);
  }

// @replace utils/animation.cpp Animation::GetOutgoingFoot
e_Foot Animation::GetOutgoingFoot() const {
    const bool changes = is_odd(variableCache.Steps());
    return (currentFoot == e_Foot_Left) == changes ? e_Foot_Right : e_Foot_Left;
  }
