// The ball's predicted flight is computed as far as somebody reads it, is shared with the mental images, and is turned
// (Match::Mirror) by a flag; its average positions come from running sums.
//
// Why this is exact:
// - A step of the prediction depends on position, momentum and spin of the step before and on nothing else, save the
//   first one, which also sees the goals and is computed at once. So a later step may be computed when it is first read.
// - Orientation matters after the first step only, and Euler angles are a function of the spin, so that the angles
//   that closed a step also open the next.
// - Turning the pitch flips the sign of x and y, and sign flips undo each other bit by bit: flipping on reading equals
//   having flipped what is stored. A sum of positions starts at +0 and can never become -0, so 0 - sum flips it.
// - A prediction whose start and first step equal those of the flight at hand to the last bit has the same flight.
// - A shift of all points by one (nobody touched the ball) becomes a number that is added to the index. The array that
//   upstream's state holds, with the point past its end that no step writes, is rebuilt from these where it is saved.

// @top onthepitch/ball.hpp
#include <memory>

// Where the ball is, how it moves and spins at one point of time.
struct BallMotion {
  Vector3 position;
  Vector3 momentum;      // metres per second
  Quaternion spin;       // rotation in a millisecond
  Vector3 angles;        // the spin's Euler angles, radians
  float frictionFactor;  // how hard the ball hit the ground in this step, 0 to 1

  bool Equals(const BallMotion& other) const;
};

// Points of a flight, 10 ms apart, known as far as somebody asked.
class BallFlight {
 public:
  static constexpr int kPoints = ballPredictionSize_ms / 10 + cachedPredictions;

  // A flight from `start`, whose first step led to `afterFirstStep`.
  void Begin(const Vector3& start, const BallMotion& afterFirstStep);
  // A flight whose points are all given.
  void BeginKnown(const Vector3* given);
  bool IsOf(const Vector3& start, const BallMotion& afterFirstStep) const;
  const Vector3& Point(int index) {
    if (index >= known) Continue(index);
    return points[index];
  }

 private:
  void Continue(int index);

  Vector3 points[kPoints];
  int known = 0;
  bool given = false;
  BallMotion firstStep, latest;
};

// The points of a flight as they are at one time, seen from one side.
struct BallForecast {
  static constexpr int kEntries = BallFlight::kPoints + 1;

  Vector3 first[2];
  std::shared_ptr<BallFlight> flight;
  int shift = 0;        // entry k is point k + shift of the flight
  bool turned = false;  // the flight is seen from the other side
  Vector3 last;         // the last entry, which no prediction writes, and which shifts copy into those before it

  Vector3 At(int entry) const {
    if (entry < 2) return first[entry];
    const int index = entry + shift;
    if (index >= BallFlight::kPoints) return last;
    Vector3 point = flight->Point(index);
    if (turned) point.Mirror();
    return point;
  }
  void Mirror() {
    first[0].Mirror();
    first[1].Mirror();
    last.Mirror();
    turned = !turned;
  }
  void SetEntries(const Vector3* entries);
};

// The ball's latest positions, newest last, and sums over the newest of them.
class BallTrail {
 public:
  int Size() const { return int(positions.size()) - begin; }
  void Mirror() { turned = !turned; }
  void Clear();
  void Push(Vector3 position);
  Vector3 Sum(int newest) const;
  void ProcessState(EnvState* state);

 private:
  std::vector<Vector3> positions;  // from `begin` on, as they were before turning
  int begin = 0;
  bool turned = false;
  mutable std::vector<Vector3> sums;  // of the newest 1, 2, ... positions, as far as somebody asked
};

// @replace onthepitch/ball.hpp Predict
Vector3 Predict(int time_ms) const {
  // Compared as unsigned numbers, as ballPredictionSize_ms is one: times before now are taken for very late ones.
  if (unsigned(time_ms) >= ballPredictionSize_ms) time_ms = ballPredictionSize_ms - 10;
  return forecast.At(time_ms / 10);
}

// @members onthepitch/ball.hpp Ball
 public:
  const BallForecast& GetForecast() const { return forecast; }

 private:
  void FirstStep(BallMotion& ball);
  void HitPosts(BallMotion& ball) const;
  void PullByNet(BallMotion& ball);

  BallForecast forecast;  // in place of `predictions`
  BallTrail trail;        // in place of `ballPosHistory`

// @replace onthepitch/ball.cpp Ball::Mirror
void Ball::Mirror() {
  momentum.Mirror();
  positionBuffer.Mirror();
  forecast.Mirror();
  trail.Mirror();
}

// @replace onthepitch/ball.cpp Ball::GetPredictionArray
void Ball::GetPredictionArray(std::vector<Vector3> &target) {
  target.resize(ballPredictionSize_ms / 10);
  for (size_t i = 0; i < target.size(); i++) target[i] = forecast.At(int(i));
}

// @replace onthepitch/ball.cpp Ball::SetPosition
void Ball::SetPosition(const Vector3 &target) {
  valid_predictions = 0;
  positionBuffer.Set(target);
  momentum.Set(0);
  SetRotation(0, 0, 0, 1.0);
  trail.Clear();
}

// @top onthepitch/ball.cpp
#include <cstring>

// @before onthepitch/ball.cpp Ball::CalculatePrediction
namespace {

constexpr float kRadius = 0.11f, kPostRadius = 0.07f;
constexpr float kStep = 0.01f;  // seconds
constexpr float kAngleLimit = pi * 0.49f;

Vector3 EulerAngles(const Quaternion& rotation) {
  Vector3 angles;
  rotation.GetAngles(angles.coords[0], angles.coords[1], angles.coords[2]);
  return angles;
}

// Gravity, drag, bounce and friction of the ground; returns how much of the ball is in the grass, 0 to 1.
inline float MoveFreely(BallMotion& ball) {
  Vector3& momentum = ball.momentum;
  float& height = ball.position.coords[2];

  momentum.coords[2] = momentum.coords[2] + gravity * kStep;
  const float speed = momentum.GetLength();
  const float draggedSpeed = speed - drag * std::pow(speed, 2.0f) * kStep;
  momentum = momentum.GetNormalized(Vector3(0)) * draggedSpeed;

  float grass = clamp(1.0f - ((height - kRadius) / grassHeight), 0.0f, 1.0f);
  // 0 and 1, a ball in the air or on the ground, are their own powers.
  if (grass != 0.0f && grass != 1.0f) grass = std::pow(grass, 0.7f);

  ball.frictionFactor = 0.0f;
  if (height < kRadius) {
    if (momentum.coords[2] < 0.0f) {
      ball.frictionFactor = NormalizedClamp(-momentum.coords[2] - 0.5f, 0.0f, 12.0f);
      const float up = -momentum.coords[2] * bounce;
      momentum.coords[2] = std::max(up - linearBounce, 0.0f);
    }
    height = kRadius;
  }

  if (height < kRadius + grassHeight) {
    Vector3 ground = momentum.Get2D();
    const float groundSpeed = ground.GetLength();
    const float slowed = groundSpeed - (friction * grass) * std::pow(groundSpeed, 2.0f) * kStep;
    const float newSpeed = clamp(slowed - (linearFriction * grass * kStep), 0.0f, 100000.0f);
    ground.Normalize(Vector3(0));
    ground *= newSpeed;
    momentum.coords[0] = ground.coords[0];
    momentum.coords[1] = ground.coords[1];
  }
  return grass;
}

// Rotation by a share of `rotation`'s angle, whose dot product with no rotation has the arc cosine `halfAngle`.
Quaternion ShareOfRotation(const Quaternion& rotation, float factor, float halfAngle) {
  const float w = rotation.elements[3];
  // Rounding may bring w out of the range in which the arc cosine at hand is that of w.
  if (!(w >= -1.0f && w <= 1.0f)) halfAngle = std::acos(w);
  const double divisor = std::sqrt(1.0f - w * w);
  Vector3 axis;
  for (int i = 0; i < 3; i++)
    axis.coords[i] = divisor < 0.000001f ? rotation.elements[i] : float(rotation.elements[i] / divisor);

  float angle = 2.0f * halfAngle;
  if (angle > pi) angle -= 2.0f * pi;
  angle = angle * factor;
  if (!(std::fabs(angle) < 2.0f * pi)) angle = std::fmod(angle, 2.0f * pi);
  Quaternion result;
  result.SetAngleAxis(angle, axis);
  return result.GetNormalized();
}

// On the ground, spin and movement pull at each other.
inline void RollOnGround(BallMotion& ball, float grass) {
  Vector3& momentum = ball.momentum;
  const float rollX = momentum.coords[1] / kRadius, rollY = momentum.coords[0] / kRadius;
  Quaternion aroundX, aroundY;
  aroundX.SetAngleAxis(clamp(rollX * 0.001f, -kAngleLimit, kAngleLimit), Vector3(-1, 0, 0));
  aroundY.SetAngleAxis(clamp(rollY * 0.001f, -kAngleLimit, kAngleLimit), Vector3(0, 1, 0));
  const Quaternion rolling = aroundX * aroundY;

  Quaternion change = ball.spin.GetRotationTo(rolling).GetNormalized();
  const float halfAngle = std::acos(clamp(change.GetDotProduct(QUATERNION_IDENTITY), -1.0f, 1.0f));
  const float changePerSecond = std::fabs(2.0f * halfAngle) * 1000.0f;
  float maximumChange = 1.0f * pi * grass;
  if (ball.frictionFactor > 0.0f) maximumChange += 4.0f * pi;
  if (changePerSecond > maximumChange) {
    const float factor = maximumChange / changePerSecond;
    if (factor < 1.0f) change = ShareOfRotation(change, factor, halfAngle);
  }

  // How fast the ball would roll if it kept all of its spin.
  const float spunX = ball.angles.coords[1] * kRadius * 1000.0f;
  const float spunY = -ball.angles.coords[0] * kRadius * 1000.0f;
  float grip = 0.01f;
  grip *= grass;
  if (ball.frictionFactor > 0.0f) grip += 0.5f * ball.frictionFactor;
  grip = clamp(grip, 0.0f, 1.0f);
  momentum.coords[0] = momentum.coords[0] * (1.0f - grip) + spunX * grip;
  momentum.coords[1] = momentum.coords[1] * (1.0f - grip) + spunY * grip;

  ball.spin = change * ball.spin;
  ball.angles = EulerAngles(ball.spin);
}

// What ends every step: roll, swerve and the way made.
inline void FinishStep(BallMotion& ball, float grass) {
  if (ball.position.coords[2] < kRadius + grassHeight) RollOnGround(ball, grass);

  // The Magnus effect grows with speed, and fades away after some of it.
  float swerve = NormalizedClamp(ball.momentum.GetLength(), 0.0f, 70.0f);
  swerve = pow(std::sin(swerve * pi * 0.94f), 2.6f);
  const Vector3 pull = ball.momentum.GetNormalized(Vector3(0)) * swerve * 30.0f;
  ball.momentum += pull.GetCrossProduct(-(ball.angles * 10.0f)) * kStep;

  ball.position += ball.momentum * kStep;
}

bool SameBits(const void* a, const void* b, size_t size) { return memcmp(a, b, size) == 0; }

}  // namespace

bool BallMotion::Equals(const BallMotion& other) const {
  return SameBits(position.coords, other.position.coords, sizeof(position.coords)) &&
         SameBits(momentum.coords, other.momentum.coords, sizeof(momentum.coords)) &&
         SameBits(spin.elements, other.spin.elements, sizeof(spin.elements));
}

void BallFlight::Begin(const Vector3& start, const BallMotion& afterFirstStep) {
  points[0] = start;
  points[1] = afterFirstStep.position;
  known = 2;
  given = false;
  firstStep = latest = afterFirstStep;
}

void BallFlight::BeginKnown(const Vector3* all) {
  std::copy(all, all + kPoints, points);
  known = kPoints;
  given = true;
}

bool BallFlight::IsOf(const Vector3& start, const BallMotion& afterFirstStep) const {
  return !given && SameBits(points[0].coords, start.coords, sizeof(start.coords)) && firstStep.Equals(afterFirstStep);
}

void BallFlight::Continue(int index) {
  for (; known <= index; known++) {
    const float grass = MoveFreely(latest);
    FinishStep(latest, grass);
    points[known] = latest.position;
  }
}

void BallForecast::SetEntries(const Vector3* entries) {
  first[0] = entries[0];
  first[1] = entries[1];
  flight = std::make_shared<BallFlight>();
  flight->BeginKnown(entries);
  shift = 0;
  turned = false;
}

void BallTrail::Clear() {
  positions.clear();
  begin = 0;
  sums.clear();
}

void BallTrail::Push(Vector3 position) {
  if (turned) position.Mirror();
  positions.push_back(position);
  if (Size() > int(ballHistorySize)) begin++;
  if (begin > int(ballHistorySize)) {
    positions.erase(positions.begin(), positions.begin() + begin);
    begin = 0;
  }
  sums.clear();
}

Vector3 BallTrail::Sum(int newest) const {
  if (int(sums.size()) < newest) {
    Vector3 sum = sums.empty() ? Vector3(0) : sums.back();
    while (int(sums.size()) < newest) {
      sum += positions[positions.size() - 1 - sums.size()];
      sums.push_back(sum);
    }
  }
  const Vector3& sum = sums[newest - 1];
  if (!turned) return sum;
  return Vector3(0.0f - sum.coords[0], 0.0f - sum.coords[1], sum.coords[2]);
}

void BallTrail::ProcessState(EnvState* state) {
  int size = Size();
  state->process(size);
  std::vector<Vector3> seen(positions.begin() + begin, positions.end());
  seen.resize(size);
  for (Vector3& position : seen) {
    if (turned) position.Mirror();
    state->process(position);
  }
  if (!state->Load()) return;
  Clear();
  positions = seen;
  turned = false;
}

// @replace onthepitch/ball.cpp Ball::CalculatePrediction
BallSpatialInfo Ball::CalculatePrediction() {
  BallMotion ball;
  ball.position = positionBuffer;
  ball.momentum = momentum;
  ball.spin = rotation_ms;
  ball.angles = EulerAngles(rotation_ms);
  FirstStep(ball);

  Quaternion turn;
  const Vector3 turned = ball.angles * (kStep / 0.001f);
  turn.SetAngles(turned.coords[0], turned.coords[1], turned.coords[2]);
  orientPrediction = turn * orientationBuffer;

  if (valid_predictions > 0 && forecast.At(2) == ball.position) {
    // Nothing happened to the ball: the forecast stands, 10 ms on.
    valid_predictions--;
    forecast.shift++;
  } else {
    valid_predictions = cachedPredictions;
    const bool same = forecast.flight && !forecast.turned && forecast.flight->IsOf(positionBuffer, ball);
    if (!same) {
      // Mental images may still look at the old flight.
      if (!forecast.flight || forecast.flight.use_count() > 1) forecast.flight = std::make_shared<BallFlight>();
      forecast.flight->Begin(positionBuffer, ball);
      forecast.turned = false;
    }
    forecast.shift = 0;
  }
  forecast.first[0] = positionBuffer;
  forecast.first[1] = ball.position;
  return BallSpatialInfo(ball.momentum, ball.spin);
}

// The step that sees the goals.
void Ball::FirstStep(BallMotion& ball) {
  ballTouchesNet = false;
  const float grass = MoveFreely(ball);
  HitPosts(ball);
  if (match->IsBallInGoal()) PullByNet(ball);
  FinishStep(ball, grass);
}

// The ball springs back from a post and from the crossbar.
void Ball::HitPosts(BallMotion& ball) const {
  constexpr float kept = 0.8f;
  Vector3& position = ball.position;
  Vector3& momentum = ball.momentum;

  const Vector3 ground = position.Get2D();
  if (position.coords[2] < goalHeight + kRadius + kPostRadius &&
      (ground.GetAbsolute() - Vector3(pitchHalfW, goalHalfWidth, 0)).GetLength() < kRadius + kPostRadius) {
    const bool left = position.coords[0] < 0, lower = position.coords[1] < 0;
    const Vector3 post(left ? -pitchHalfW : pitchHalfW, lower ? -goalHalfWidth : goalHalfWidth, 0);
    const Vector3 normal = (ground - post).GetNormalized(Vector3(left ? 1 : -1, 0, 0));
    const float height = position.coords[2];
    position = post + normal * (kPostRadius + kRadius);
    position.coords[2] = height;
    const Vector3 flat = momentum.Get2D();
    momentum = (flat.GetNormalized(normal) + (normal * 1.1f)).GetNormalized() * flat.GetLength() * kept +
               (Vector3(0, 0, 1) * momentum.coords[2]);
  }

  const Vector3 onlyXZ(1, 0, 1);
  const Vector3 upright = position * onlyXZ;
  if ((upright.GetAbsolute() - Vector3(pitchHalfW, 0, goalHeight)).GetLength() < kRadius + kPostRadius &&
      std::fabs(position.coords[1]) < goalHalfWidth + kRadius + kPostRadius) {
    const bool left = position.coords[0] < 0;
    const Vector3 bar(left ? -pitchHalfW : pitchHalfW, 0, goalHeight);
    const Vector3 normal = (upright - bar).GetNormalized(Vector3(0, 0, left ? 1 : -1));
    const float along = position.coords[1];
    position = bar + normal * (kPostRadius + kRadius);
    position.coords[1] = along;
    const Vector3 flat = momentum * onlyXZ;
    momentum = (flat.GetNormalized(normal) + (normal * 1.1f)).GetNormalized() * flat.GetLength() * kept +
               (Vector3(0, 1, 0) * momentum.coords[1]);
  }
}

// The net takes speed from a ball in the goal and pulls it back, the more the further the ball is beyond it.
void Ball::PullByNet(BallMotion& ball) {
  const float absorbed = 0.95f, pullFactor = 1.8f;
  const Vector3 at = ball.position;
  float* momentum = ball.momentum.coords;
  if (!(std::fabs(at.coords[0]) > pitchHalfW + kRadius)) return;

  const auto pull = [](float distance) { return std::pow(clamp(distance, 0, 1), 2.6f); };
  // The net hangs from the woodwork, and gives less there.
  const auto tension = [&] {
    const float slack = clamp((std::fabs(momentum[0]) - pitchHalfW) * 2.0f, 0.0f, 1.0f);
    return pullFactor + (1.0f - slack) * 3.0f;
  };

  if (!(std::fabs(at.coords[1]) < goalHalfWidth - kRadius)) {
    const float power = pull(std::fabs(std::fabs(at.coords[1]) - goalHalfWidth)) * -signSide(at.coords[1]);
    momentum[1] = momentum[1] * absorbed + power * tension() * (100 * kStep);
    ballTouchesNet = true;
  }
  if (!(std::fabs(at.coords[0]) < pitchHalfW + goalDepth - kRadius)) {
    const float power = pull(std::fabs(std::fabs(at.coords[0]) - (pitchHalfW + goalDepth))) * -signSide(at.coords[0]);
    momentum[0] = momentum[0] * absorbed + power * pullFactor * (100 * kStep);
    ballTouchesNet = true;
  }
  if (!(at.coords[2] < goalHeight + kRadius)) {
    const float power = -pull(std::fabs(std::fabs(at.coords[2]) - goalHeight));
    momentum[2] = momentum[2] * absorbed + power * tension() * (100 * kStep);
    ballTouchesNet = true;
  }
}

// @replace onthepitch/ball.cpp Ball::GetAveragePosition
Vector3 Ball::GetAveragePosition(unsigned int duration_ms) const {
  const int count = std::min(trail.Size(), int(duration_ms / 10) + 1);
  if (count == 0) return Predict(0);
  Vector3 average = trail.Sum(count);
  average /= float(count);
  return average;
}

// @replace onthepitch/ball.cpp Ball::Process
void Ball::Process() {
  const BallSpatialInfo next = CalculatePrediction();
  momentum = next.momentum;
  rotation_ms = next.rotation_ms;
  positionBuffer = Predict(10);
  orientationBuffer = orientPrediction;
  trail.Push(positionBuffer);
}

// @replace onthepitch/ball.cpp Ball::ResetSituation
void Ball::ResetSituation(const Vector3 &focusPos) {
  positionBuffer = Vector3(focusPos + Vector3(0, 0, 0.11));
  // Points past those that anybody can read keep their old values, which only a saved state shows.
  Vector3 entries[BallFlight::kPoints];
  for (int i = 0; i < BallFlight::kPoints; i++)
    entries[i] = i < int(ballPredictionSize_ms) / 10 ? positionBuffer : forecast.At(i);
  forecast.SetEntries(entries);

  momentum = Vector3(0);
  rotation_ms = QUATERNION_IDENTITY;
  orientPrediction = QUATERNION_IDENTITY;
  orientationBuffer = QUATERNION_IDENTITY;
  trail.Clear();
  valid_predictions = 0;
  ballTouchesNet = false;
}

// @replace onthepitch/ball.cpp Ball::ProcessState
void Ball::ProcessState(EnvState *state) {
  state->process(momentum);
  state->process(rotation_ms);
  Vector3 entries[BallForecast::kEntries];
  for (int i = 0; i < BallForecast::kEntries; i++) {
    if (!state->Load()) entries[i] = i < BallForecast::kEntries - 1 ? forecast.At(i) : forecast.last;
    state->process(entries[i]);
  }
  if (state->Load()) {
    forecast.SetEntries(entries);
    forecast.last = entries[BallForecast::kEntries - 1];
  }
  state->process(valid_predictions);
  state->process(orientPrediction);
  trail.ProcessState(state);
  state->process(positionBuffer);
  state->process(orientationBuffer);
  state->process(ballTouchesNet);
}

// @top onthepitch/AIsupport/mentalimage.hpp
#include "../ball.hpp"

// @members onthepitch/AIsupport/mentalimage.hpp MentalImage
 private:
  BallForecast forecast;  // in place of `ballPredictions`
  // Players of a team whose positions and movements are to be turned on reading, by team.
  bool playersTurned[2] = {false, false};

  PlayerImage Seen(const PlayerImage& image) const;

// @before onthepitch/AIsupport/mentalimage.cpp MentalImage::Mirror
PlayerImage MentalImage::Seen(const PlayerImage& image) const {
  PlayerImage seen = image;
  if (playersTurned[image.player->GetTeamID() == 0 ? 0 : 1]) seen.Mirror();
  return seen;
}

// @replace onthepitch/AIsupport/mentalimage.cpp MentalImage::Mirror
void MentalImage::Mirror(bool team_0, bool team_1, bool ball) {
  playersTurned[0] ^= team_0;
  playersTurned[1] ^= team_1;
  if (!ball) return;
  ballPredictions_mirrored = !ballPredictions_mirrored;
  forecast.Mirror();
}

// @replace onthepitch/AIsupport/mentalimage.cpp MentalImage::ProcessState
void MentalImage::ProcessState(EnvState* state, Match* match) {
  this->match = match;
  state->process(timeStamp_ms);
  state->process(maxDistanceDeviation);
  state->process(maxMovementDeviation);
  int count = players.size();
  state->process(count);
  players.resize(count);
  for (PlayerImage& player : players) {
    if (!state->Load()) player = Seen(player);
    player.ProcessState(state);
  }
  playersTurned[0] = playersTurned[1] = false;

  // The state holds predictions as the left team sees them.
  const bool turn = state->getConfig()->reverse_team_processing && !ballPredictions_mirrored;
  Vector3 entries[BallFlight::kPoints];
  int size = forecast.flight ? ballPredictionSize_ms / 10 : 0;
  state->process(size);
  for (int i = 0; i < size; i++) {
    if (!state->Load()) entries[i] = forecast.At(i);
    if (turn) entries[i].Mirror();
    state->process(entries[i]);
    if (turn) entries[i].Mirror();
  }
  if (state->Load() && size) forecast.SetEntries(entries);
}

// @replace onthepitch/AIsupport/mentalimage.cpp MentalImage::GetPlayerImage
PlayerImage MentalImage::GetPlayerImage(PlayerBase* p) const {
  for (const PlayerImage& player : players) {
    if (player.player != p) continue;
    PlayerImage image = Seen(player);
    image.position = image.position + image.movement * GetTimeStampNeg_ms() * 0.001f;
    image.position = image.position.EnforceMaximumDeviation(p->GetPosition(), maxDistanceDeviation);
    image.movement = image.movement.EnforceMaximumDeviation(p->GetMovement(), maxMovementDeviation);
    return image;
  }
  return Seen(players[0]);
}

// @replace onthepitch/AIsupport/mentalimage.cpp MentalImage::GetTeamPlayerImages
std::vector<PlayerImagePosition> MentalImage::GetTeamPlayerImages(int teamID) const {
  std::vector<PlayerImagePosition> result;
  result.reserve(playerNum);
  const int age_ms = GetTimeStampNeg_ms();
  for (const PlayerImage& player : players) {
    Player* real = player.player;
    if (real->GetTeamID() != teamID || !real->IsActive()) continue;
    const PlayerImage image = Seen(player);
    const Vector3 position = image.position + image.movement * age_ms * 0.001f;
    result.emplace_back(position.EnforceMaximumDeviation(real->GetPosition(), maxDistanceDeviation),
                        image.movement.EnforceMaximumDeviation(real->GetMovement(), maxMovementDeviation),
                        image.role);
  }
  return result;
}

// @replace onthepitch/AIsupport/mentalimage.cpp MentalImage::UpdateBallPredictions
void MentalImage::UpdateBallPredictions() { forecast = match->GetBall()->GetForecast(); }

// @replace onthepitch/AIsupport/mentalimage.cpp MentalImage::GetBallPrediction
Vector3 MentalImage::GetBallPrediction(int time_ms) const {
  // The clock is unsigned and makes the sum so: a time before the image was made counts as a very late one.
  int index = time_ms + match->GetActualTime_ms() - timeStamp_ms;
  if (unsigned(index) >= ballPredictionSize_ms) index = ballPredictionSize_ms - 10;
  const Vector3 remembered = forecast.At(index / 10);
  return remembered.EnforceMaximumDeviation(match->GetBall()->Predict(time_ms), maxDistanceDeviation);
}
