// The C interface of the batch driver. Everything a match needs inside a step happens behind these calls, so that
// Python touches no object per match: actions, the dead-ball rule, skipped frames, ends, resets, state arrays.
// Array layouts are those of touchline/envs/simulator.py; engine.py passes the offsets' totals and checks them.

#ifndef TOUCHLINE_DRIVER_HPP
#define TOUCHLINE_DRIVER_HPP

#include <cstdint>

#define TL_API extern "C" __attribute__((visibility("default")))

constexpr int kMaxPlayers = 11;
constexpr int kSticky = 10;
constexpr int kKicks = 4;        // keys of a kick: long, high and short pass, shot
constexpr int kKickMemory = 10;  // steps for which a match remembers that one was pressed
constexpr int kActions = 20;

struct TlPlayer {
  float x, y;  // start position in the team's own view
  int32_t role, lazy, controllable;
};

struct TlTeam {
  int32_t count;
  TlPlayer players[kMaxPlayers];
};

struct TlScenario {
  TlTeam teams[2][2];  // [line-up of even or odd episodes][left, right]
  float ball_x, ball_y;
  float left_difficulty, right_difficulty;
  int32_t offsides, end_on_score, end_on_out_of_play, end_on_possession_change;
  int32_t duration, second_half, deterministic, control_all_players, use_magnet;
  int32_t left_agents, right_agents;
  int32_t clock_truncates;  // the clock ends an episode as truncation (a drill) or as termination (a match)
  uint32_t fixed_seed;      // the engine seed of a deterministic scenario
  uint64_t identity;        // hash of all of the above, carried by snapshots
};

// Rows of the arrays below are matches; all are owned by the caller and rewritten in place.
struct TlArrays {
  float* floats;  // [B, num_floats] the matches as they stand now
  int32_t* ints;  // [B, num_ints]
  float* final_floats;  // [B, num_floats] the matches as the last step left them, before any reset
  int32_t* final_ints;  // [B, num_ints]
  float* reward;        // [B] change of the goal difference, left view
  uint8_t* terminated;  // [B]
  uint8_t* truncated;   // [B]
  int64_t* seeds;       // [B] engine seed of the running episode
  int64_t* episodes;    // [B] its number since the last seeded reset
  int32_t num_floats, num_ints;  // the caller's row lengths; creation fails if they are not the driver's
};

struct TlOptions {
  int32_t num_envs, num_threads;
  int32_t reset_pool;    // snapshots an episode may start from; 0: every reset is a true one
  int32_t auto_reset;    // reset a match that ends inside the step
  uint64_t pool_seed;    // what the pool's engine seeds are drawn from
  int32_t render, render_width, render_height;
  const char* data_dir;
  const char* font_file;
};

struct TlBatch;

TL_API const char* tl_error();  // why the last call of this thread failed
TL_API TlBatch* tl_create(const TlScenario*, const TlOptions*, const TlArrays*);
TL_API void tl_destroy(TlBatch*);
// mask [B] or null for all; seeds [B] or null, -1 takes the next of the match's own stream.
TL_API void tl_reset(TlBatch*, const uint8_t* mask, const int64_t* seeds);
// actions [B, N], 0 to 19. The caller's thread takes part in the work from tl_step_wait on.
TL_API void tl_step_async(TlBatch*, const int32_t* actions);
TL_API void tl_step_wait(TlBatch*);
// A snapshot's size in bytes; it is written to `out` if it fits in `capacity`.
TL_API int64_t tl_get_state(TlBatch*, int32_t index, uint8_t* out, int64_t capacity);
// 0, or non-zero when the bytes are no intact snapshot of this scenario (see tl_error).
TL_API int32_t tl_set_state(TlBatch*, int32_t index, const uint8_t* data, int64_t size);
// The engine's own state of match `index`, for comparison with other builds of the engine.
TL_API int64_t tl_get_engine_state(TlBatch*, int32_t index, uint8_t* out, int64_t capacity);
TL_API int32_t tl_set_engine_state(TlBatch*, int32_t index, const uint8_t* data, int64_t size);
TL_API int64_t tl_render(TlBatch*, int32_t index, uint8_t* out, int64_t capacity);
// The bare loop: `steps` random-action steps of match 0 on the calling thread, nothing handed out. CPU and wall seconds.
TL_API void tl_bare_loop(TlBatch*, int32_t steps, uint64_t seed, double* cpu_seconds, double* wall_seconds);
// How often the batch reset an engine in earnest, as opposed to loading a snapshot of the pool.
TL_API int64_t tl_true_resets(TlBatch*);
// A deliberate fatal error of the engine in match `index`, for testing the isolation of worker processes.
TL_API void tl_crash(TlBatch*, int32_t index);

#endif
