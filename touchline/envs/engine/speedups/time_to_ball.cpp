// How long a player needs to the ball: the walk of 70 steps of 10 ms is laid out once for all points that are asked.
//
// Exact, though the engine asks for every player, every frame and some twenty predicted points of the ball when he could be there,
// and walks from his feet again for each: he fades from his present movement (step 0) to a sprint in any direction
// (step 70), so at every step he has a place and a reach. Neither depends on the point, except that a slow player
// starts a foot's length towards it. `Approach` keeps place and reach of all steps, made by the same additions in the
// same order, and compares a point with eight steps at a time; the first step whose reach holds the point is the same.
//
// Most points are hopeless, and told by a bound instead of a walk: all places lie on a straight line from the start, so
// a point farther from it than the last reach is in reach of no step. Line and reach are taken in closed form with five
// centimetres to spare, a hundred times more than rounding can add up to, and the bound only ever says no where the
// walk would have said no. An optimistic time is not worked out where a shorter one is known.
//
// The distance to the ball tells how many frames to skip, in steps of half a metre; a quick root tells the step, unless
// it is so near to the next that the engine's root in double precision might fall on the other side: then that decides.

// @top onthepitch/AIsupport/AIfunctions.hpp

struct TimeNeeded;

// What a player who keeps moving for a moment and then sprints can reach, and when. Metres, metres per second.
class Approach {
 public:
  Approach(const Vector3 &position, const Vector3 &movement, float maxVelocity, bool precise);

  // Time to `target`, for someone who is only interested in times up to `maxTime_ms` (-1: in all).
  TimeNeeded To(const Vector3 &target, unsigned int maxTime_ms);

  // False only if `To(target, ms)` is more than `ms`, and for `optimists` the optimistic time as well; true if that is
  // not sure. `distance` is from `position` to `target`, about.
  bool MayBeInTime(const Vector3 &target, float distance, unsigned int ms, bool optimists) const;

 private:
  static constexpr int kSteps = 70;
  static constexpr int kPadded = 72;  // a multiple of the eight steps that are compared at once

  // Number of the first step that reaches a point (kSteps: none), and the place after the last one.
  struct Walk {
    int optimistic = kSteps;
    int usual = kSteps;
    Vector3 end;  // of a walk of all steps that ends out of reach
  };

  unsigned int RoughTime_ms(const Vector3 &target) const;
  unsigned int CloseTime_ms(const Vector3 &target) const;
  unsigned int SprintTime_ms(const Vector3 &target, const Vector3 &end, float reach) const;
  void LayOut(int steps);
  Walk Follow(const Vector3 &target, int steps);

  const Vector3 position;
  const Vector3 movement;
  const float maxVelocity;
  const float sprint;         // the part of maxVelocity that is attained
  const float roughDistance;  // beyond it times are estimated
  const float speed;
  const bool aheadOfFeet;     // fast players start in the direction of their movement, slow ones towards the point

  // For the bound: about where the line of places starts, how far that can be off, and 1 / speed squared.
  float lineX, lineY, spare, inverseSquaredSpeed;

  int laidOut = 0;  // steps that the rows below hold so far, always whole eights
  float last[4] = {0.0f, 0.0f, 0.28f, 0.9f};  // place and reaches after the last of them
  Vector3 start;
  float x[kPadded], y[kPadded];  // place after each step; of slow players, the step itself
  float usualReach[kPadded], usualReachSquared[kPadded];
  float optimisticReach[kPadded], optimisticReachSquared[kPadded];
};

// @replace onthepitch/AIsupport/AIfunctions.cpp AI_GetTimeNeededForDistance_ms

namespace {

constexpr unsigned int kStep_ms = 10;
constexpr unsigned int kWalk_ms = 700;
constexpr float kFootLength = 0.1f;

// Shares of present movement and of sprint in each step, and bounds (not exact) of what they add up to.
struct Fade {
  float present[72] = {}, sprint[72] = {};  // two more than are used: steps are laid out by eights
  float presentSeconds[70] = {}, sprintSeconds[70] = {};
  constexpr Fade() {
    float presentSum = 0.0f, sprintSum = 0.0f;
    for (int k = 0; k < 70; k++) {
      float bias = (float)(k * kStep_ms) / (float)kWalk_ms;
      present[k] = 1.0f - bias;
      sprint[k] = bias;
      presentSum += present[k] * 0.01f;
      sprintSum += sprint[k] * 0.01f;
      presentSeconds[k] = presentSum;
      sprintSeconds[k] = sprintSum;
    }
  }
};
constexpr Fade fade;

// Eight or four numbers that are added, multiplied and compared at once, each like a single one.
typedef float Eight __attribute__((vector_size(32)));
typedef float Four __attribute__((vector_size(16)));

inline Eight LoadEight(const float *from) {
  Eight eight;
  memcpy(&eight, from, sizeof(eight));
  return eight;
}

template <typename Truths>
inline bool Any(const Truths &truths) {
  long long pairs[4];
  static_assert(sizeof(pairs) == sizeof(truths), "eight comparisons");
  memcpy(pairs, &truths, sizeof(pairs));
  return (pairs[0] | pairs[1] | pairs[2] | pairs[3]) != 0;
}

}  // namespace

Approach::Approach(const Vector3 &position, const Vector3 &movement, float maxVelocity, bool precise)
    : position(position),
      movement(movement),
      maxVelocity(maxVelocity),
      sprint(maxVelocity * 0.94f),
      roughDistance(precise ? 48.0f : 16.0f),
      speed(movement.GetLength()),
      aheadOfFeet(speed > idleDribbleSwitch) {
  const float ahead = aheadOfFeet ? kFootLength / speed + 0.01f : 0.0f;
  lineX = position.coords[0] + movement.coords[0] * ahead;
  lineY = position.coords[1] + movement.coords[1] * ahead;
  spare = aheadOfFeet ? 0.05f : 0.05f + kFootLength;
  inverseSquaredSpeed = speed > 0.0001f ? 1.0f / (speed * speed) : 0.0f;
}

bool Approach::MayBeInTime(const Vector3 &target, float distance, unsigned int ms, bool optimists) const {
  if (fabsf(distance - roughDistance) < 0.01f) return true;
  if (distance > roughDistance) return distance <= (ms + 201) * 0.00075f * maxVelocity + speed * 0.2f + 0.05f;
  const unsigned int last = std::min(ms / kStep_ms, kSteps - 1u);
  const float seconds = fade.presentSeconds[last];
  const float reach = (optimists ? 0.9f : 0.28f) + sprint * fade.sprintSeconds[last] + spare;
  const float dx = target.coords[0] - lineX;
  const float dy = target.coords[1] - lineY;
  float nearest = (dx * movement.coords[0] + dy * movement.coords[1]) * inverseSquaredSpeed;
  nearest = std::max(0.0f, std::min(nearest, seconds));
  const float offLineX = dx - movement.coords[0] * nearest;
  const float offLineY = dy - movement.coords[1] * nearest;
  if (offLineX * offLineX + offLineY * offLineY <= reach * reach) return true;
  if (ms < kWalk_ms) return false;
  const float sprintReach = reach + sprint * (ms - kWalk_ms + 1) * 0.001f;
  const float offEndX = dx - movement.coords[0] * seconds;
  const float offEndY = dy - movement.coords[1] * seconds;
  return offEndX * offEndX + offEndY * offEndY <= sprintReach * sprintReach;
}

unsigned int Approach::RoughTime_ms(const Vector3 &target) const {
  return int(std::round((target - (position + movement * 0.2f)).GetLength() / (maxVelocity * 0.75f) * 1000));
}

// For points within reach at once: a time under 10 ms by distance, so that players can be compared.
unsigned int Approach::CloseTime_ms(const Vector3 &target) const {
  return int(std::round(clamp((target - position).GetLength() / usualReach[0], 0.0f, 1.0f) * 10));
}

unsigned int Approach::SprintTime_ms(const Vector3 &target, const Vector3 &end, float reach) const {
  const float remaining = clamp((target - end).GetLength() - reach, 0.0f, 100000.0f);
  return kWalk_ms + (remaining / sprint) * 1000;
}

void Approach::LayOut(int steps) {
  if (laidOut >= steps) return;
  if (laidOut == 0 && aheadOfFeet) {
    start = position;
    start += movement.GetNormalized() * kFootLength;
    start += movement * 0.01f;
    last[0] = start.coords[0];
    last[1] = start.coords[1];
  }
  // A step adds to place and reaches at once: four sums side by side, each in the order of time.
  Four sums;
  memcpy(&sums, last, sizeof(sums));
  const Four whole = {movement.coords[0], movement.coords[1], sprint, sprint};
  int k = laidOut;
  for (; k < steps || k % 8 != 0; k++) {
    const float fading = fade.present[k], growing = fade.sprint[k];
    const Four share = {fading, fading, growing, growing};
    const Four step = whole * share * (float)kStep_ms * 0.001f;
    sums += step;
    x[k] = aheadOfFeet ? sums[0] : step[0];
    y[k] = aheadOfFeet ? sums[1] : step[1];
    usualReach[k] = sums[2];
    optimisticReach[k] = sums[3];
  }
  memcpy(last, &sums, sizeof(sums));
  for (int i = laidOut; i < k; i++) {
    usualReachSquared[i] = usualReach[i] * usualReach[i];
    optimisticReachSquared[i] = optimisticReach[i] * optimisticReach[i];
  }
  laidOut = k;
}

Approach::Walk Approach::Follow(const Vector3 &target, int steps) {
  LayOut(steps);
  Walk walk;
  const float *placeX = x, *placeY = y;
  float ownX[kPadded], ownY[kPadded];
  Vector3 from = start;
  if (!aheadOfFeet) {
    from = position;
    from += (target - position).GetNormalized(0) * kFootLength;
    float x = from.coords[0], y = from.coords[1];
    for (int k = 0; k < laidOut; k++) {
      ownX[k] = x += this->x[k];
      ownY[k] = y += this->y[k];
    }
    placeX = ownX;
    placeY = ownY;
  }
  const float dz = target.coords[2] - from.coords[2];
  for (int block = 0; block < steps; block += 8) {
    const Eight dx = target.coords[0] - LoadEight(placeX + block);
    const Eight dy = target.coords[1] - LoadEight(placeY + block);
    const Eight squared = dx * dx + dy * dy + dz * dz;
    if (!Any(squared < LoadEight(optimisticReachSquared + block))) continue;
    const int count = std::min(8, steps - block);
    for (int i = 0; i < count; i++) {
      if (walk.optimistic == kSteps && squared[i] < optimisticReachSquared[block + i]) walk.optimistic = block + i;
      if (squared[i] < usualReachSquared[block + i]) {  // then the optimistic reach, ever the larger, held it as well
        walk.usual = block + i;
        return walk;
      }
    }
  }
  if (steps == kSteps) walk.end = Vector3(placeX[kSteps - 1], placeY[kSteps - 1], from.coords[2]);
  return walk;
}

TimeNeeded Approach::To(const Vector3 &target, unsigned int maxTime_ms) {
  TimeNeeded time;
  if ((position - target).GetLength() > roughDistance) {
    time.usual_ms = RoughTime_ms(target);
    time.optimistic_ms = time.usual_ms - 200;
    return time;
  }
  const bool timeOut = maxTime_ms != (unsigned int)-1;
  // The first step after maxTime_ms ends the walk; from step 70 on there is none to end.
  const unsigned int steps = timeOut ? std::min(maxTime_ms / kStep_ms + 1, (unsigned int)kSteps) : kSteps;
  const Walk walk = Follow(target, steps);
  if (walk.usual < kSteps) {
    time.usual_ms = walk.usual * kStep_ms;
    time.optimistic_ms = walk.optimistic * kStep_ms;
    if (time.usual_ms == 0) time.optimistic_ms = time.usual_ms = CloseTime_ms(target);
    return time;
  }
  if (timeOut && steps * kStep_ms > maxTime_ms) {
    time.usual_ms = std::max(RoughTime_ms(target), (steps * kStep_ms + 100) * 2);
    if (walk.optimistic < kSteps) {
      time.optimistic_ms = walk.optimistic * kStep_ms;
    } else {
      time.optimistic_ms = steps < kSteps ? steps * kStep_ms : time.usual_ms;
    }
    return time;
  }
  time.usual_ms = SprintTime_ms(target, walk.end, usualReach[kSteps - 1]);
  time.optimistic_ms = walk.optimistic < kSteps ? walk.optimistic * kStep_ms
                                                : SprintTime_ms(target, walk.end, optimisticReach[kSteps - 1]);
  return time;
}

TimeNeeded AI_GetTimeNeededForDistance_ms(const Vector3 &playerPos, const Vector3 &playerMovement,
                                          const Vector3 &targetPos, float maxVelocity, bool precise,
                                          unsigned int maxTime_ms) {
  return Approach(playerPos, playerMovement, maxVelocity, precise).To(targetPos, maxTime_ms);
}

// @replace onthepitch/player/player.cpp Player::UpdatePossessionStats

// Frames, 1 to 50, that a ball at 50 m/s takes to come near; `distance` is how far it is, about.
static int FramesAway(const Vector3 &position, const Vector3 &ball, float distance) {
  const float frames = (distance + 0.2f) * 2.0f + 0.05f;
  if (frames >= 60.0f) return 50;
  const int whole = frames;
  const float rest = frames - whole;
  if (rest > 0.002f && rest < 0.998f) return std::max(1, std::min(whole, 50));
  const unsigned int time_ms = int(std::round((((position - ball).GetLength() + 0.2f) / 50.0f) * 1000.0f));
  const unsigned int clamped_ms = clamp(time_ms, 10, 500);
  return clamped_ms / 10;
}

void Player::UpdatePossessionStats() {
  Ball *ball = match->GetBall();
  const Vector3 position = GetPosition();
  const Vector3 movement = GetMovement();
  const float maxVelocity = GetMaxVelocity();

  timeNeededToGetToBall_previous_ms = timeNeededToGetToBall_ms;
  timeNeededToGetToBall_ms = std::max(
      ballPredictionSize_ms,
      (unsigned int)(std::round((ball->Predict(ballPredictionSize_ms - 10).Get2D() - (position + movement * 0.2f)).GetLength() /
                                (maxVelocity * 0.75f) * 1000)));
  timeNeededToGetToBall_optimistic_ms = timeNeededToGetToBall_ms;

  const e_FunctionType function = CastHumanoid()->GetCurrentFunctionType();
  const bool justKicked = (function == e_FunctionType_ShortPass || function == e_FunctionType_LongPass ||
                           function == e_FunctionType_HighPass || function == e_FunctionType_Shot) &&
                          !TouchPending();

  // Coarse steps along the predicted path until the ball can be reached, then again from the step before by 10 ms.
  Approach approach(position, movement, maxVelocity, team->GetDesignatedTeamPossessionPlayer() == this);
  bool refine = false;
  int previous = 0;
  for (int frame = justKicked ? 50 : 0; frame < (int)ballPredictionSize_ms / 10;) {
    const unsigned int ms = frame * 10;
    const Vector3 place = ball->Predict(frame * 10);
    const Vector3 ground = place.Get2D();
    const float distance = std::sqrt((position - ground).GetSquaredLength());
    const bool optimists = ms < timeNeededToGetToBall_optimistic_ms;
    if (place.coords[2] < 1.5f && approach.MayBeInTime(ground, distance, ms, optimists)) {
      const TimeNeeded time = approach.To(ground, ms);
      if (optimists && time.optimistic_ms <= ms) timeNeededToGetToBall_optimistic_ms = ms;
      if (time.usual_ms <= ms) {
        if (refine) {
          timeNeededToGetToBall_ms = ms;
          break;
        }
        frame = previous;
        refine = true;
      }
    }
    previous = frame;
    frame += refine ? 1 : FramesAway(position, ground, distance);
  }

  if (TouchAnim() && TouchPending()) {
    const unsigned int touch_ms = (CastHumanoid()->GetTouchFrame() - GetCurrentFrame()) * 10;
    timeNeededToGetToBall_ms = std::min(timeNeededToGetToBall_ms, touch_ms);
    timeNeededToGetToBall_optimistic_ms = timeNeededToGetToBall_ms;
  }

  if (timeNeededToGetToBall_ms < defaultTouchOffset_ms) {
    const float distance = ((position + movement * (defaultTouchOffset_ms * 0.001)) -
                            ball->Predict(defaultTouchOffset_ms).Get2D()).GetLength();
    timeNeededToGetToBall_ms = NormalizedClamp(distance, 0.0f, 0.6f) * defaultTouchOffset_ms;
    timeNeededToGetToBall_optimistic_ms = timeNeededToGetToBall_ms;
  }

  const Team *opponents = match->GetTeam(1 - team->GetID());
  hasPossession = !justKicked && AI_HasPossession(ball, this);
  hasBestPossession = hasPossession && opponents->GetTimeNeededToGetToBall_ms() > GetTimeNeededToGetToBall_ms();
  hasUniquePossession = hasPossession && !opponents->HasPossession();

  if (match->GetBallRetainer() == this) {
    timeNeededToGetToBall_ms = 1;
    timeNeededToGetToBall_optimistic_ms = 1;
    SetDesiredTimeToBall_ms(timeNeededToGetToBall_ms);
    hasPossession = hasBestPossession = hasUniquePossession = true;
  } else if (match->GetBallRetainer() != 0) {
    hasPossession = hasBestPossession = hasUniquePossession = false;
  }
}
