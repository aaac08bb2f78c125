#include "driver.hpp"

#include <time.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "game_env.hpp"
#include "gametask.hpp"

namespace {

thread_local std::string last_error;

// ---------------------------------------------------------------- actions

// Backend action of our action numbers 0 to 19 (sets "default" and "v2").
const int kBackendAction[kActions] = {
    game_idle,         game_left,           game_top_left,   game_top,
    game_top_right,    game_right,          game_bottom_right, game_bottom,
    game_bottom_left,  game_long_pass,      game_high_pass,  game_short_pass,
    game_shot,         game_sprint,         game_release_direction, game_release_sprint,
    game_sliding,      game_dribble,        game_release_dribble,   game_builtin_ai};

const int kStickyAction[kSticky] = {game_left,         game_top_left, game_top,         game_top_right,
                                    game_right,        game_bottom_right, game_bottom,  game_bottom_left,
                                    game_sprint,       game_dribble};

const int kKickAction[kKicks] = {game_long_pass, game_high_pass, game_short_pass, game_shot};

// A right agent sees the pitch turned by 180 degrees, so his directions 1..8 turn by four eighths of a circle.
int turned(int action) { return action >= 1 && action <= 8 ? (action - 1 + 4) % 8 + 1 : action; }

// Waiting steps at a dead ball after which upstream plays it short, and from when on which way the taker then runs.
constexpr int kWaitBeforePass = 20, kWaitBeforeTurning = 30;

// ---------------------------------------------------------------- small tools

// splitmix64 (Steele, Lea, Flood 2014): the stream of later engine seeds of a match.
uint64_t next_random(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// Seeds of episodes that nobody chose stay below 10^9; from there on they belong to evaluations (evaluate.py).
int64_t next_seed(uint64_t* state) { return int64_t(next_random(state) % 1000000000ull); }

// FNV-1a, the snapshot's check sum.
uint64_t checksum(const uint8_t* data, size_t size) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < size; i++) h = (h ^ data[i]) * 0x100000001b3ull;
  return h;
}

// A thread that sleeps takes some 50 us to wake up on a virtual machine, as much as many a step: before it does, it
// looks for that long whether what it waits for is there.
constexpr auto kSpin = std::chrono::microseconds(100);

template <class Condition>
void spin_until(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; i++) {
      if (condition()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < end);
}

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

// ---------------------------------------------------------------- the state layout

struct Layout {  // offsets into a row, in the order of simulator.py
  enum Floats {
    kLeftPosition = 0,
    kLeftDirection = kLeftPosition + 2 * kMaxPlayers,
    kRightPosition = kLeftDirection + 2 * kMaxPlayers,
    kRightDirection = kRightPosition + 2 * kMaxPlayers,
    kBallPosition = kRightDirection + 2 * kMaxPlayers,
    kBallDirection = kBallPosition + 3,
    kBallRotation = kBallDirection + 3,
    kLeftTired = kBallRotation + 3,
    kRightTired = kLeftTired + kMaxPlayers,
    kNumFloats = kRightTired + kMaxPlayers
  };
  enum Ints {
    kLeftCount = 0,
    kRightCount,
    kLeftActive,
    kRightActive = kLeftActive + kMaxPlayers,
    kLeftYellow = kRightActive + kMaxPlayers,
    kRightYellow = kLeftYellow + kMaxPlayers,
    kLeftRole = kRightYellow + kMaxPlayers,
    kRightRole = kLeftRole + kMaxPlayers,
    kLeftDesignated = kRightRole + kMaxPlayers,
    kRightDesignated,
    kOwnedTeam,
    kOwnedPlayer,
    kGameMode,
    kLeftScore,
    kRightScore,
    kStepsLeft,
    kLeftControlled,
    kRightControlled = kLeftControlled + kMaxPlayers,
    kLeftSticky = kRightControlled + kMaxPlayers,
    kRightSticky = kLeftSticky + kMaxPlayers * kSticky,
    kLeftKicks = kRightSticky + kMaxPlayers * kSticky,
    kRightKicks = kLeftKicks + kMaxPlayers * kKicks,
    kNumInts = kRightKicks + kMaxPlayers * kKicks
  };
};

void write_team(const std::vector<PlayerInfo>& team, float* position, float* direction, float* tired,
                int32_t* count, int32_t* active, int32_t* yellow, int32_t* role, int32_t* designated) {
  *count = int32_t(team.size());
  *designated = -1;
  for (size_t i = 0; i < team.size() && i < size_t(kMaxPlayers); i++) {
    const PlayerInfo& p = team[i];
    for (int axis = 0; axis < 2; axis++) {
      position[2 * i + axis] = p.player_position.env_coord(axis);
      direction[2 * i + axis] = p.player_direction.env_coord(axis);
    }
    tired[i] = p.tired_factor;
    active[i] = p.is_active;
    yellow[i] = p.has_card;
    role[i] = p.role;
    if (p.designated_player) *designated = int32_t(i);
  }
}

// ---------------------------------------------------------------- one match

struct TlMatch {
  GameEnv engine;
  bool started = false;
  // What only a true reset sets up, and the engine's own state leaves out.
  uint64_t configured_for = 0;               // identity of the scenario
  int32_t configured_line_up = 0;            // whose lazy players stay lazy
  bool reversed = false;                     // the right team was made first: players' time slots follow from it
  FormationEntry formation[2][kMaxPlayers];  // line-ups as the teams hold them
  uint64_t seed_stream = 0;
  int64_t seed = 0, episode = -1;
  int32_t line_up = 0;  // line-up of the running episode
  // What upstream's environment carries beside the engine.
  int32_t previous_game_mode = -1, previous_owner = -1, score_difference = 0;
  // [side][agent][key]: kKickMemory when the key was pressed in the last step, one less after every other.
  uint8_t kicks[2][kMaxPlayers][kKicks] = {};
  SharedInfo info;
  bool picture_is_old = false;  // a state has been loaded since it was drawn
};

struct SnapshotHeader {
  char magic[8];
  uint64_t identity, checksum, payload_size;  // the sum is of all that follows the size
  uint64_t seed_stream;
  int64_t seed, episode;
  int32_t line_up, previous_game_mode, previous_owner, score_difference;
  uint8_t kicks[2][kMaxPlayers][kKicks];
};
const char kMagic[8] = {'T', 'L', 'S', 'N', 'A', 'P', '0', '3'};
const int kVersionAt = 7;  // of the magic; version 01 had no kicks, and the sum of 01 and 02 was of the payload alone
const size_t kSummedFrom = offsetof(SnapshotHeader, seed_stream);

}  // namespace

struct TlBatch {
  TlScenario scenario;
  TlOptions options;
  TlArrays arrays;
  std::vector<std::unique_ptr<TlMatch>> matches;
  int agents = 0;
  std::atomic<int64_t> true_resets{0};  // of the engine, at 100 times the cost of loading a snapshot

  // Snapshots that resets may use in place of a true one, by line-up, order of the teams, and slot.
  struct Slot {
    std::mutex mutex;
    int64_t seed = 0;
    std::string state;  // empty until the first true reset with this seed
  };
  std::vector<std::unique_ptr<Slot>> pool[2][2];

  // Work: every thread steps the matches of its own range first, whose memory its core knows, and takes from the
  // fullest other range when that is empty; resets are taken by whoever is free as they come up.
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable work_ready, work_done;
  std::vector<int32_t> actions;
  std::deque<int> resets;
  struct Range {
    int next, end;
  };
  std::vector<Range> ranges;  // matches not yet taken, by thread
  int unfinished = 0;
  bool stepping = false, stop = false;
  std::atomic<uint32_t> news_for_workers{0}, news_for_caller{0};  // count what the condition variables tell

  // -------------------------------------------------------------- episodes

  bool reversed(const TlMatch& m) const { return !scenario.deterministic && m.seed % 2; }

  void configure(ScenarioConfig& config, const TlMatch& m) const {
    const TlScenario& s = scenario;
    config.ball_position.coords[0] = s.ball_x;
    config.ball_position.coords[1] = s.ball_y;
    for (int side = 0; side < 2; side++) {
      const TlTeam& team = s.teams[m.line_up][side];
      auto& out = side ? config.right_team : config.left_team;
      for (int i = 0; i < team.count; i++) {
        const TlPlayer& p = team.players[i];
        out.push_back(FormationEntry(p.x, p.y, e_PlayerRole(p.role), p.lazy, p.controllable));
      }
    }
    config.left_agents = s.left_agents;
    config.right_agents = s.right_agents;
    config.use_magnet = s.use_magnet;
    config.offsides = s.offsides;
    config.left_team_difficulty = s.left_difficulty;
    config.right_team_difficulty = s.right_difficulty;
    config.deterministic = s.deterministic;
    config.end_episode_on_score = s.end_on_score;
    config.end_episode_on_possession_change = s.end_on_possession_change;
    config.end_episode_on_out_of_play = s.end_on_out_of_play;
    config.game_duration = s.duration;
    config.second_half = s.second_half;
    config.control_all_players = s.control_all_players;
    config.game_engine_random_seed = uint32_t(m.seed);
    config.reverse_team_processing = reversed(m);
  }

  // Runs the engine to the next frame in which an agent has a say.
  void run_to_play(TlMatch& m, bool step_first) {
    if (step_first) m.engine.step();
    m.info = m.engine.get_info();
    while (!m.info.is_in_play) {
      m.engine.step();
      m.info = m.engine.get_info();
    }
    m.picture_is_old = false;
  }

  void true_reset(TlMatch& m) {
    true_resets++;
    if (!m.started) {
      m.engine.game_config.render = options.render;
      m.engine.game_config.render_resolution_x = options.render_width;
      m.engine.game_config.render_resolution_y = options.render_height;
      m.engine.start_game();
      m.started = true;
    }
    m.engine.state = game_running;
    auto config = ScenarioConfig::make();
    configure(*config, m);
    m.engine.reset(*config, false);
    m.configured_for = scenario.identity;
    m.configured_line_up = m.line_up;
    m.reversed = reversed(m);
    ContextHolder current(&m.engine);
    for (int side = 0; side < 2; side++) {
      Team* team = GetGameTask()->GetMatch()->GetTeam(side);
      const auto& players = team->GetAllPlayers();
      for (size_t i = 0; i < players.size(); i++) m.formation[side][i] = team->GetFormationEntry(players[i]);
    }
    run_to_play(m, false);
  }

  std::string engine_state(TlMatch& m) { return m.engine.get_state(""); }

  void load_engine_state(TlMatch& m, const std::string& state) {
    ContextHolder current(&m.engine);
    m.engine.set_state(state);
    restore_formation(m, 0, m.engine.scenario_config.left_team);
    restore_formation(m, 1, m.engine.scenario_config.right_team);
    m.info = m.engine.get_info();
    m.picture_is_old = true;
    restore_mental_images(m);
  }

  // The teams' own line-ups, which place the players at every kick-off, are those of the last true reset, and a keeper
  // who was sent off has handed his entry on to the first player who was left.
  void restore_formation(TlMatch& m, int side, const std::vector<FormationEntry>& line_up) {
    Team* team = GetGameTask()->GetMatch()->GetTeam(side);
    const auto& players = team->GetAllPlayers();
    for (size_t i = 0; i < players.size(); i++) {
      FormationEntry entry = m.formation[side][i];
      entry.start_position = line_up[i].start_position;
      entry.role = line_up[i].role;
      entry.lazy = line_up[i].lazy;
      entry.controllable = line_up[i].controllable;
      team->SetFormationEntry(players[i], entry);
    }
    std::vector<Player*> active;
    team->GetActivePlayers(active);
    for (Player* player : players)
      if (!player->IsActive() && team->GetFormationEntry(player).role == e_PlayerRole_GK && !active.empty())
        team->SetFormationEntry(active.front(), team->GetFormationEntry(player));
  }

  // Whether a ball prediction is mirrored is not in the state either: where loading adds mental images to those that
  // the engine has (it has none right after a reset), and the teams are reversed, they come out the wrong way round.
  void restore_mental_images(const TlMatch& m) {
    if (m.info.step < 0) return;  // there may be none yet
    for (int history_ms = 0; history_ms < 300; history_ms += 100) {
      MentalImage* image = GetGameTask()->GetMatch()->GetMentalImage(history_ms);
      if (image->ballPredictions_mirrored) image->Mirror(false, false, true);
    }
  }

  // Loading a snapshot is fatal unless the engine was reset with this scenario, and inexact unless its teams were made
  // in the snapshot's order and with the same players lazy.
  bool fits(const TlMatch& m) const {
    return m.configured_for == scenario.identity && m.reversed == reversed(m) &&
           same_are_lazy(m.configured_line_up, m.line_up);
  }

  bool same_are_lazy(int line_up, int other) const {
    for (int side = 0; side < 2; side++) {
      const TlTeam &team = scenario.teams[line_up][side], &others = scenario.teams[other][side];
      for (int i = 0; i < team.count; i++)
        if (bool(team.players[i].lazy) != bool(others.players[i].lazy)) return false;
    }
    return true;
  }

  void begin_episode(int index, int64_t seed) {
    TlMatch& m = *matches[index];
    if (seed >= 0) {
      m.seed_stream = uint64_t(seed);
      m.episode = 0;
    } else {
      m.episode++;
    }
    m.line_up = int32_t(m.episode % 2);
    Slot* slot = nullptr;
    // Only snapshots with the match's own order of teams fit; its seeded reset has chosen that.
    const auto& slots = pool[m.line_up][m.reversed];
    if (seed < 0 && !slots.empty()) {
      slot = slots[next_random(&m.seed_stream) % slots.size()].get();
      m.seed = slot->seed;
    } else {
      m.seed = seed >= 0 ? seed : next_seed(&m.seed_stream);
    }
    if (scenario.deterministic) m.seed = scenario.fixed_seed;
    if (slot) {
      // Holding the slot while its first owner fills it spares the others the same work.
      std::lock_guard<std::mutex> lock(slot->mutex);
      if (!slot->state.empty() && fits(m)) {
        load_engine_state(m, slot->state);
      } else {
        true_reset(m);
        if (slot->state.empty()) slot->state = engine_state(m);
      }
    } else {
      true_reset(m);
    }
    m.previous_game_mode = m.previous_owner = -1;
    m.score_difference = 0;
    memset(m.kicks, 0, sizeof m.kicks);
    write_state(index, arrays.floats, arrays.ints);
    arrays.seeds[index] = m.seed;
    arrays.episodes[index] = m.episode;
  }

  // -------------------------------------------------------------- a step

  void perform_actions(int index) {
    TlMatch& m = *matches[index];
    const int waiting = m.engine.waiting_for_game_count;
    for (int n = 0; n < agents; n++) {
      const bool left = n < scenario.left_agents;
      const int agent = left ? n : n - scenario.left_agents;
      int action = actions[index * agents + n];
      if (!left) action = turned(action);
      int backend = kBackendAction[action];
      if (waiting == kWaitBeforePass) {
        backend = game_short_pass;
      } else if (waiting > kWaitBeforePass) {
        backend = game_idle;
        const auto& controllers = left ? m.info.left_controllers : m.info.right_controllers;
        const int team = left ? 0 : 1;
        if (m.info.ball_owned_team == team && controllers[agent].controlled_player == m.info.ball_owned_player) {
          const bool forward = waiting < kWaitBeforeTurning;
          backend = forward == left ? game_right : game_left;
        }
      }
      m.engine.action(backend, left, agent);
      uint8_t* kicks = m.kicks[left ? 0 : 1][agent];
      for (int k = 0; k < kKicks; k++) kicks[k] = backend == kKickAction[k] ? kKickMemory : kicks[k] - (kicks[k] > 0);
    }
  }

  // Returns whether the episode ended.
  bool step_match(int index) {
    TlMatch& m = *matches[index];
    {
      ContextHolder current(&m.engine);
      perform_actions(index);
      run_to_play(m, true);
    }
    const SharedInfo& info = m.info;
    bool ended = scenario.end_on_score && (info.left_goals > 0 || info.right_goals > 0);
    if (scenario.end_on_out_of_play && info.game_mode != e_GameMode_Normal &&
        m.previous_game_mode == e_GameMode_Normal)
      ended = true;
    m.previous_game_mode = info.game_mode;
    if (info.ball_owned_team != -1) {
      if (scenario.end_on_possession_change && m.previous_owner != -1 && info.ball_owned_team != m.previous_owner)
        ended = true;
      m.previous_owner = info.ball_owned_team;
    }
    const int difference = info.left_goals - info.right_goals;
    arrays.reward[index] = float(difference - m.score_difference);
    m.score_difference = difference;
    m.engine.waiting_for_game_count =
        info.game_mode != e_GameMode_Normal ? m.engine.waiting_for_game_count + 1 : 0;
    const bool clock = info.step >= scenario.duration;
    arrays.terminated[index] = ended || (clock && !scenario.clock_truncates);
    arrays.truncated[index] = clock && !arrays.terminated[index];
    return ended || clock;
  }

  void finish_step(int index, bool resets_now) {
    write_state(index, arrays.final_floats, arrays.final_ints);
    if (!resets_now) {
      memcpy(arrays.floats + size_t(index) * Layout::kNumFloats,
             arrays.final_floats + size_t(index) * Layout::kNumFloats, sizeof(float) * Layout::kNumFloats);
      memcpy(arrays.ints + size_t(index) * Layout::kNumInts,
             arrays.final_ints + size_t(index) * Layout::kNumInts, sizeof(int32_t) * Layout::kNumInts);
    }
  }

  void write_state(int index, float* all_floats, int32_t* all_ints) {
    TlMatch& m = *matches[index];
    float* f = all_floats + size_t(index) * Layout::kNumFloats;
    int32_t* n = all_ints + size_t(index) * Layout::kNumInts;
    using L = Layout;
    std::fill_n(f, int(L::kNumFloats), 0.0f);
    std::fill_n(n, int(L::kNumInts), 0);
    const SharedInfo& info = m.info;
    write_team(info.left_team, f + L::kLeftPosition, f + L::kLeftDirection, f + L::kLeftTired, n + L::kLeftCount,
               n + L::kLeftActive, n + L::kLeftYellow, n + L::kLeftRole, n + L::kLeftDesignated);
    write_team(info.right_team, f + L::kRightPosition, f + L::kRightDirection, f + L::kRightTired,
               n + L::kRightCount, n + L::kRightActive, n + L::kRightYellow, n + L::kRightRole,
               n + L::kRightDesignated);
    for (int axis = 0; axis < 3; axis++) {
      f[L::kBallPosition + axis] = info.ball_position.env_coord(axis);
      f[L::kBallDirection + axis] = info.ball_direction.env_coord(axis);
      f[L::kBallRotation + axis] = info.ball_rotation.env_coord(axis);
    }
    n[L::kOwnedTeam] = info.ball_owned_team;
    n[L::kOwnedPlayer] = info.ball_owned_player;
    n[L::kGameMode] = info.game_mode;
    n[L::kLeftScore] = info.left_goals;
    n[L::kRightScore] = info.right_goals;
    n[L::kStepsLeft] = scenario.duration - info.step;
    for (int i = 0; i < kMaxPlayers; i++) n[L::kLeftControlled + i] = n[L::kRightControlled + i] = -1;
    write_agents(m, true, scenario.left_agents, info.left_controllers, n + L::kLeftControlled, n + L::kLeftSticky);
    write_agents(m, false, scenario.right_agents, info.right_controllers, n + L::kRightControlled,
                 n + L::kRightSticky);
    std::copy_n(&m.kicks[0][0][0], kMaxPlayers * kKicks, n + L::kLeftKicks);
    std::copy_n(&m.kicks[1][0][0], kMaxPlayers * kKicks, n + L::kRightKicks);
  }

  void write_agents(TlMatch& m, bool left, int count, const std::vector<ControllerInfo>& controllers,
                    int32_t* controlled, int32_t* sticky) {
    for (int i = 0; i < count; i++) {
      controlled[i] = i < int(controllers.size()) ? controllers[i].controlled_player : -1;
      for (int k = 0; k < kSticky; k++)
        sticky[i * kSticky + k] = m.engine.sticky_action_state(kStickyAction[k], left, i);
    }
  }

  // -------------------------------------------------------------- threads

  // Takes jobs until none is left for this thread; resets first, since they are the longest.
  void work(std::unique_lock<std::mutex>& lock, int thread) {
    while (stepping) {
      if (!resets.empty()) {
        const int index = resets.front();
        resets.pop_front();
        lock.unlock();
        begin_episode(index, -1);
        lock.lock();
        finished_one();
        continue;
      }
      const int index = take_match(thread);
      if (index >= 0) {
        lock.unlock();
        const bool resets_now = step_match(index) && options.auto_reset;
        finish_step(index, resets_now);
        lock.lock();
        if (resets_now) {
          resets.push_back(index);
          news_for_workers++;
          news_for_caller++;
          work_ready.notify_one();
          work_done.notify_one();  // the caller may be waiting with nothing to do
        } else {
          finished_one();
        }
      } else {
        return;
      }
    }
  }

  int take_match(int thread) {
    Range* range = &ranges[thread];
    if (range->next < range->end) return range->next++;
    for (auto& other : ranges)
      if (other.end - other.next > range->end - range->next) range = &other;
    return range->next < range->end ? --range->end : -1;
  }

  bool matches_left() const {
    for (const auto& range : ranges)
      if (range.next < range.end) return true;
    return false;
  }

  void finished_one() {
    if (--unfinished == 0) {
      stepping = false;
      news_for_caller++;
      work_done.notify_all();
    }
  }

  template <class Condition>
  static void wait_for(std::unique_lock<std::mutex>& lock, std::condition_variable& told,
                       const std::atomic<uint32_t>& news, Condition condition) {
    if (condition()) return;
    const uint32_t known = news;
    lock.unlock();
    spin_until([&] { return news != known; });
    lock.lock();
    told.wait(lock, condition);
  }

  void serve(int thread) {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      wait_for(lock, work_ready, news_for_workers, [this] {
        return stop || (stepping && (matches_left() || !resets.empty()));
      });
      if (stop) return;
      work(lock, thread);
    }
  }

  void begin_step(const int32_t* new_actions) {
    std::lock_guard<std::mutex> lock(mutex);
    actions.assign(new_actions, new_actions + size_t(options.num_envs) * agents);
    const int threads_in_all = int(ranges.size());
    for (int t = 0; t < threads_in_all; t++)
      ranges[t] = {options.num_envs * t / threads_in_all, options.num_envs * (t + 1) / threads_in_all};
    unfinished = options.num_envs;
    stepping = true;
    news_for_workers++;
    work_ready.notify_all();
  }

  void finish_step_of_all() {
    std::unique_lock<std::mutex> lock(mutex);
    while (stepping) {
      work(lock, 0);
      wait_for(lock, work_done, news_for_caller, [this] { return !stepping || !resets.empty(); });
    }
  }

  ~TlBatch() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stop = true;
      news_for_workers++;
      work_ready.notify_all();
    }
    for (auto& t : threads) t.join();
    // The engine has no destructor of its own that may run safely; a batch's engines live as long as the process,
    // as upstream's do, and are handed on to the next batch with equal rendering.
    std::lock_guard<std::mutex> lock(spare_mutex());
    for (auto& m : matches)
      if (m && m->started) spares(options.render).push_back(std::move(m));
  }

  static std::mutex& spare_mutex() {
    static std::mutex mutex;
    return mutex;
  }
  static std::vector<std::unique_ptr<TlMatch>>& spares(bool render) {
    static auto* plain = new std::vector<std::unique_ptr<TlMatch>>;
    static auto* rendering = new std::vector<std::unique_ptr<TlMatch>>;
    return render ? *rendering : *plain;
  }
  static std::unique_ptr<TlMatch> new_match(bool render) {
    std::lock_guard<std::mutex> lock(spare_mutex());
    auto& list = spares(render);
    if (list.empty()) return std::unique_ptr<TlMatch>(new TlMatch);
    auto engine = std::move(list.back());
    list.pop_back();
    engine->episode = -1;
    engine->seed_stream = engine->configured_for = 0;
    engine->reversed = false;
    return engine;
  }
};

// ------------------------------------------------------------------ the C interface

TL_API const char* tl_error() { return last_error.c_str(); }

TL_API TlBatch* tl_create(const TlScenario* scenario, const TlOptions* options, const TlArrays* arrays) {
  if (arrays->num_floats != Layout::kNumFloats || arrays->num_ints != Layout::kNumInts) {
    last_error = "the state layouts of Python and of the engine library differ: rebuild with `touchline engine build`";
    return nullptr;
  }
  setenv("GFOOTBALL_DATA_DIR", options->data_dir, 1);
  setenv("GFOOTBALL_FONT", options->font_file, 1);
  auto batch = new TlBatch;
  batch->scenario = *scenario;
  batch->options = *options;
  batch->arrays = *arrays;
  batch->agents = scenario->left_agents + scenario->right_agents;
  for (int i = 0; i < options->num_envs; i++) batch->matches.push_back(TlBatch::new_match(options->render));
  uint64_t stream = options->pool_seed;
  for (auto& line_up : batch->pool)
    for (int reversed = 0; reversed < 2; reversed++)
      for (int k = 0; k < options->reset_pool; k++) {
        line_up[reversed].emplace_back(new TlBatch::Slot);
        line_up[reversed].back()->seed =
            scenario->deterministic ? int64_t(scenario->fixed_seed) : next_seed(&stream) / 2 * 2 + reversed;
      }
  batch->ranges.assign(size_t(options->num_threads), TlBatch::Range{0, 0});
  for (int t = 1; t < options->num_threads; t++) batch->threads.emplace_back([batch, t] { batch->serve(t); });
  return batch;
}

TL_API void tl_destroy(TlBatch* batch) { delete batch; }

TL_API void tl_reset(TlBatch* batch, const uint8_t* mask, const int64_t* seeds) {
  for (int i = 0; i < batch->options.num_envs; i++)
    if (!mask || mask[i]) batch->begin_episode(i, seeds ? seeds[i] : -1);
}

TL_API void tl_step_async(TlBatch* batch, const int32_t* actions) { batch->begin_step(actions); }

TL_API void tl_step_wait(TlBatch* batch) { batch->finish_step_of_all(); }

TL_API int64_t tl_get_state(TlBatch* batch, int32_t index, uint8_t* out, int64_t capacity) {
  TlMatch& m = *batch->matches[index];
  const std::string payload = batch->engine_state(m);
  SnapshotHeader h;
  memset(&h, 0, sizeof h);
  memcpy(h.magic, kMagic, sizeof kMagic);
  h.identity = batch->scenario.identity;
  h.payload_size = payload.size();
  h.seed_stream = m.seed_stream;
  h.seed = m.seed;
  h.episode = m.episode;
  h.line_up = m.line_up;
  h.previous_game_mode = m.previous_game_mode;
  h.previous_owner = m.previous_owner;
  h.score_difference = m.score_difference;
  memcpy(h.kicks, m.kicks, sizeof h.kicks);
  const int64_t size = int64_t(sizeof h + payload.size());
  if (size <= capacity) {
    memcpy(out, &h, sizeof h);
    memcpy(out + sizeof h, payload.data(), payload.size());
    h.checksum = checksum(out + kSummedFrom, size_t(size) - kSummedFrom);
    memcpy(out, &h, sizeof h);
  }
  return size;
}

TL_API int32_t tl_set_state(TlBatch* batch, int32_t index, const uint8_t* data, int64_t size) {
  const char version = size >= int64_t(sizeof kMagic) && memcmp(data, kMagic, kVersionAt) == 0 ? data[kVersionAt] : '0';
  const size_t head = version == '1' ? offsetof(SnapshotHeader, kicks) : sizeof(SnapshotHeader);
  if (version < '1' || version > kMagic[kVersionAt] || size < int64_t(head)) {
    last_error = "not a snapshot, or one of a later version: expected version 01 to 03";
    return 1;
  }
  SnapshotHeader h;
  memset(&h, 0, sizeof h);
  memcpy(&h, data, head);
  if (h.identity != batch->scenario.identity) {
    last_error = "a snapshot of another scenario, or of other controlled players";
    return 2;
  }
  const size_t summed_from = version == '3' ? kSummedFrom : head;
  const bool whole = h.payload_size == uint64_t(size) - head &&
                     h.checksum == checksum(data + summed_from, size_t(size) - summed_from);
  if (!whole || h.episode < 0 || h.line_up < 0 || h.line_up > 1) {
    last_error = "a damaged snapshot: its check sum does not fit";
    return 3;
  }
  TlMatch& m = *batch->matches[index];
  m.seed_stream = h.seed_stream;
  m.seed = h.seed;
  m.episode = h.episode;
  m.line_up = h.line_up;
  if (!batch->fits(m)) batch->true_reset(m);
  batch->load_engine_state(m, std::string(reinterpret_cast<const char*>(data) + head, h.payload_size));
  m.previous_game_mode = h.previous_game_mode;
  m.previous_owner = h.previous_owner;
  m.score_difference = h.score_difference;
  memcpy(m.kicks, h.kicks, sizeof m.kicks);
  batch->write_state(index, batch->arrays.floats, batch->arrays.ints);
  batch->write_state(index, batch->arrays.final_floats, batch->arrays.final_ints);
  batch->arrays.seeds[index] = m.seed;
  batch->arrays.episodes[index] = m.episode;
  return 0;
}

TL_API int64_t tl_get_engine_state(TlBatch* batch, int32_t index, uint8_t* out, int64_t capacity) {
  const std::string state = batch->engine_state(*batch->matches[index]);
  if (int64_t(state.size()) <= capacity) memcpy(out, state.data(), state.size());
  return int64_t(state.size());
}

TL_API int32_t tl_set_engine_state(TlBatch* batch, int32_t index, const uint8_t* data, int64_t size) {
  batch->load_engine_state(*batch->matches[index], std::string(reinterpret_cast<const char*>(data), size_t(size)));
  memset(batch->matches[index]->kicks, 0, sizeof batch->matches[index]->kicks);
  batch->write_state(index, batch->arrays.floats, batch->arrays.ints);
  return 0;
}

TL_API int64_t tl_render(TlBatch* batch, int32_t index, uint8_t* out, int64_t capacity) {
  TlMatch& m = *batch->matches[index];
  ContextHolder current(&m.engine);
  // A step draws, and so does a true reset; drawing again would move the camera on.
  if (m.picture_is_old) m.engine.render(true);
  m.picture_is_old = false;
  const screenshoot frame = m.engine.get_frame();
  if (int64_t(frame.size()) <= capacity) memcpy(out, frame.data(), frame.size());
  return int64_t(frame.size());
}

TL_API void tl_bare_loop(TlBatch* batch, int32_t steps, uint64_t seed, double* cpu_seconds, double* wall_seconds) {
  batch->actions.assign(size_t(batch->options.num_envs) * batch->agents, 0);
  const double cpu = seconds(CLOCK_THREAD_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
  for (int s = 0; s < steps; s++) {
    for (int n = 0; n < batch->agents; n++) batch->actions[n] = int32_t(next_random(&seed) % (kActions - 1));
    if (batch->step_match(0)) batch->begin_episode(0, -1);
  }
  *cpu_seconds = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
  *wall_seconds = seconds(CLOCK_MONOTONIC) - wall;
}

TL_API int64_t tl_true_resets(TlBatch* batch) { return batch->true_resets; }

TL_API void tl_crash(TlBatch* batch, int32_t index) {
  ContextHolder current(&batch->matches[index]->engine);
  batch->matches[index]->engine.set_state(std::string("no state at all"));
}
