// What a step is about to read of the players is fetched into the cache at its start, all at once.
//
// A thread that steps many engines in turn finds each of them out of its cache: then every player costs hundreds of
// misses, one after the other. Asked for together, they overlap. First the players' own objects are asked for, then what
// those point to, so that a pointer has arrived before it is followed.
//
// Exact: nothing but the cache changes. No pointer is followed that the step itself would not follow.

// @members onthepitch/player/humanoid/humanoidbase.hpp HumanoidBase
  public:
    void PrefetchOwn() const {
      const char *first = reinterpret_cast<const char *>(&match);
      const char *last = reinterpret_cast<const char *>(this) + sizeof(HumanoidBase);
      for (const char *line = first; line < last; line += 64) __builtin_prefetch(line, 1);
    }
    void PrefetchPointed() const {
      const char *root = reinterpret_cast<const char *>(humanoidNode.get());
      for (int i = 0; i < 2; i++) __builtin_prefetch(root + 56 + 40 * i, 1);
      if (!movementHistory.empty()) {
        const char *first = reinterpret_cast<const char *>(movementHistory.data());
        const char *last = reinterpret_cast<const char *>(movementHistory.data() + movementHistory.size());
        for (const char *line = first; line < last + 63; line += 64) __builtin_prefetch(line, 1);
      }
      if (currentAnim.anim) {
        const char *line = reinterpret_cast<const char *>(currentAnim.anim);
        for (int i = 0; i < 8; i++) __builtin_prefetch(line + 64 * i);
      }
      const char *line = reinterpret_cast<const char *>(currentAnim.positions.data());
      if (line) {
        for (int i = 0; i < 4; i++) __builtin_prefetch(line + 64 * i);
      }
    }

// @members onthepitch/player/playerbase.hpp PlayerBase
  public:
    void PrefetchOwn() const {
      for (int i = 0; i < 6; i++) __builtin_prefetch(reinterpret_cast<const char *>(this) + 64 * i, 1);
    }
    void PrefetchHumanoid() const {
      humanoid->PrefetchOwn();
      const char *line = reinterpret_cast<const char *>(controller.get());
      for (int i = 0; i < 3; i++) __builtin_prefetch(line + 64 * i, 1);
      const char *data = reinterpret_cast<const char *>(playerData);
      for (int i = 0; i < 2; i++) __builtin_prefetch(data + 64 * i);
    }
    void PrefetchPointed() const { humanoid->PrefetchPointed(); }

// @members onthepitch/match.hpp Match
  public:
    void PrefetchPlayers() {
      for (int stage = 0; stage < 3; stage++) {
        for (Team *team : teams) {
          for (Player *player : team->GetAllPlayers()) {
            if (stage == 0) player->PrefetchOwn();
            else if (!player->IsActive()) continue;
            else if (stage == 1) player->PrefetchHumanoid();
            else player->PrefetchPointed();
          }
        }
      }
    }

// @enter game_env.cpp GameEnv::step
  context->gameTask->GetMatch()->PrefetchPlayers();
