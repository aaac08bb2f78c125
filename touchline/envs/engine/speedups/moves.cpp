// Physics of a move and the state of a player in it, from constants of the animation that are looked up once.
//
// Why this is exact:
// - What an animation's strings, key frames and foot say never changes after loading, so a table of it, filled by
//   upstream's own functions on first use, gives the same numbers. Engines with equal animations share the table.
// - Upstream asks for the same lengths, sines and powers many times over; asking once gives the same. Factors and
//   switches that are constant in upstream (all that is braked, capped or cheated by none of them) are left out.
// - A power of a frame's share of a move is only used to choose a frame, so the frames are kept by the number of frames
//   and the exponent's bits.
// - Limits that clearly do not apply are not computed: an angle is at most its tangent, and x^1.8 at most x between 0
//   and 1; a margin of a thousandth is a hundred times what rounding could add.

// @needs shared_animations

// @top utils/animation.hpp
struct MoveFacts;

// @members utils/animation.hpp Animation
    public:
      const MoveFacts *moveFacts = nullptr;  // AnimCollection::Facts sets it

// @top onthepitch/player/humanoid/animcollection.hpp
#include <vector>

// What moves need to know of an animation.
struct MoveFacts {
  struct Frame {
    Vector3 movement;  // metres per second, smoothed over three frames
    float bodyAngle;   // around the z axis
  };
  const Frame* frames;
  int frameCount;
  int touchFrame;
  float difficulty;
  e_DefString type;
  bool incomingSpecial, outgoingSpecial;  // it begins or ends in a special state
  bool firstTripType;
  bool endsIdle;
  e_Foot outgoingFoot;
  float incomingSpeed;  // of the four that there are
  float outgoingAngle;
  Vector3 outgoingMovement, outgoingDirection;
  const std::vector<Vector3>* positions;  // by frame, on the ground
};

// Those of all animations of a collection.
struct MoveTable {
  std::vector<MoveFacts> facts;
  std::vector<MoveFacts::Frame> frames;
  std::vector<std::vector<Vector3>> positions;
};

// @members onthepitch/player/humanoid/animcollection.hpp SharedAnimations
  MadeOnce<MoveTable> moves;

// @members onthepitch/player/humanoid/animcollection.hpp AnimCollection
 public:
  // The facts of one of these animations.
  const MoveFacts& Facts(const Animation* animation, const Match* match) {
    if (!animation->moveFacts) SetMoveFacts(match);
    return *animation->moveFacts;
  }

 private:
  void SetMoveFacts(const Match* match);
  MoveTable MakeMoveTable(const Match* match) const;

// @replace onthepitch/match.cpp Match::GetAnimPositionCache
const std::vector<Vector3>& Match::GetAnimPositionCache(Animation* anim) const {
  return anim->moveFacts ? *anim->moveFacts->positions : GetContext().animPositionCache.find(anim)->second;
}

// @before onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::CalculatePredictedSituation
MoveTable AnimCollection::MakeMoveTable(const Match* match) const {
  MoveTable table;
  for (Animation* animation : animations) table.positions.push_back(match->GetAnimPositionCache(animation));
  for (size_t i = 0; i < animations.size(); i++) {
    const Animation* animation = animations[i];
    const std::vector<Vector3>& positions = table.positions[i];
    MoveFacts facts;
    facts.frames = nullptr;
    facts.frameCount = positions.size();
    facts.touchFrame = atoi(animation->GetVariable("touchframe").c_str());
    facts.difficulty = atof(animation->GetVariable("animdifficultyfactor").c_str());
    facts.type = animation->GetAnimType();
    facts.incomingSpecial = !animation->GetVariableCache().incoming_special_state().empty();
    facts.outgoingSpecial = !animation->GetVariableCache().outgoing_special_state().empty();
    facts.firstTripType = animation->GetVariable("triptype") == "1";
    facts.endsIdle = FloatToEnumVelocity(animation->GetOutgoingVelocity()) == e_Velocity_Idle;
    facts.outgoingFoot = animation->GetOutgoingFoot();
    facts.incomingSpeed = RangeVelocity(animation->GetIncomingVelocity());
    facts.outgoingAngle = animation->GetOutgoingAngle();
    facts.outgoingMovement = animation->GetOutgoingMovement();
    facts.outgoingDirection = animation->GetOutgoingDirection();
    facts.positions = nullptr;
    for (size_t frame = 0; frame < positions.size(); frame++) {
      Quaternion orientation;
      Vector3 position;
      animation->GetKeyFrame(BodyPart::body, frame, orientation, position);
      real x, y, z;
      orientation.GetAngles(x, y, z);
      table.frames.push_back({CalculateMovementAtFrame(positions, frame, 1), z});
    }
    table.facts.push_back(facts);
  }
  const MoveFacts::Frame* frames = table.frames.data();
  for (size_t i = 0; i < animations.size(); i++) {
    table.facts[i].frames = frames;
    table.facts[i].positions = &table.positions[i];
    frames += table.facts[i].frameCount;
  }
  return table;  // moved or left in place, which keeps these addresses
}

void AnimCollection::SetMoveFacts(const Match* match) {
  const MoveTable& table = Shared().moves.Get([&] { return MakeMoveTable(match); });
  for (size_t i = 0; i < animations.size(); i++) animations[i]->moveFacts = &table.facts[i];
}

namespace {

const Vector3 kDown(0, -1, 0);

// Vector3::GetRotated2D with the angle's cosine and sine at hand.
inline Vector3 Rotated(const Vector3& v, float cosine, float sine) {
  return Vector3((v.coords[0] * cosine) - (v.coords[1] * sine), (v.coords[1] * cosine) + (v.coords[0] * sine),
                 v.coords[2]);
}

inline bool IsIdle(float velocity) { return FloatToEnumVelocity(velocity) == e_Velocity_Idle; }

// By frame of a move, the frame of its animation that is played when the move's share is bent by an exponent.
class BentFrames {
 public:
  static constexpr int kMost = 64;

  // Writes the frames of a move of `last` + 1 frames, from `begin` to `end`.
  static void Write(int last, float exponent, int begin, int end, unsigned* frames) {
    if (last >= kMost) {
      for (int i = begin; i < end; i++) frames[i] = Frame(i, last, exponent);
      return;
    }
    static thread_local std::unique_ptr<BentFrames> own;
    if (!own) own.reset(new BentFrames);
    uint32_t bits;
    memcpy(&bits, &exponent, sizeof(bits));
    Row& row = own->rows[((bits * 2654435761u) ^ (uint32_t(last) * 40503u << 16)) >> 23];
    if (row.last != last || row.exponent != bits) {
      row.last = last;
      row.exponent = bits;
      for (int i = 0; i <= last; i++) row.frames[i] = uint8_t(Frame(i, last, exponent));
    }
    for (int i = begin; i < end; i++) frames[i] = row.frames[i];
  }

  static float Share(int frame, int last) { return (frame * 10 + 10) / (float)((last + 1) * 10); }

 private:
  static unsigned Frame(int frame, int last, float exponent) {
    return unsigned(last * std::pow(Share(frame, last), exponent));
  }

  struct Row {
    int last = -1;
    uint32_t exponent = 0;
    uint8_t frames[kMost];
  };
  Row rows[512];
};

// How much of the first steps' power is there, by frame; all of it after 160 ms.
struct FirstSteps {
  static constexpr int kFrames = 17;
  float power[kFrames];
  FirstSteps() {
    for (int i = 0; i < kFrames; i++) power[i] = curve(NormalizedClamp(i * 10, 0.0f, 160.0f), 1.0f);
  }
};

}  // namespace

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::CalculatePredictedSituation
void HumanoidBase::CalculatePredictedSituation(Vector3 &predictedPos, radian &predictedAngle) {
  const Anim& move = currentAnim;
  const MoveFacts& facts = anims->Facts(move.anim, match);
  const Vector3 way = move.positions.size() > (unsigned int)move.frameNum
                          ? move.positions[facts.frameCount - 1]
                          : move.anim->GetTranslation().Get2D().GetRotated2D(spatialState.angle);
  predictedPos = spatialState.position + way + move.actionSmuggle + move.actionSmuggleSustain + move.movementSmuggle;
  predictedAngle =
      ModulateIntoRange(-pi, pi, spatialState.angle + facts.outgoingAngle + move.rotationSmuggle.end);
}

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::CalculateSpatialState
void HumanoidBase::CalculateSpatialState() {
  const MoveFacts& facts = anims->Facts(currentAnim.anim, match);
  const int frame = currentAnim.frameNum;
  const bool tabled = frame >= 0 && frame < facts.frameCount;
  SpatialState& s = spatialState;

  Vector3 way;
  if (currentAnim.positions.size() > (unsigned int)frame) {
    way = currentAnim.positions[frame];
  } else {
    if (tabled) {
      way = (*facts.positions)[frame];
    } else {
      Quaternion orientation;
      currentAnim.anim->GetKeyFrame(BodyPart::player, frame, orientation, way);
      way.coords[2] = 0.0f;
    }
    way = way.GetRotated2D(startAngle);
  }
  const Vector3 position = startPos + way + currentAnim.actionSmuggleOffset + currentAnim.actionSmuggleSustainOffset +
                           currentAnim.movementSmuggleOffset;

  if (frame > 12) s.foot = facts.outgoingFoot;

  s.actualMovement = (position - previousPosition2D) * 100.0f;
  s.physicsMovement =
      s.actualMovement - (s.actionSmuggleMovement) - (s.movementSmuggleMovement) - (s.positionOffsetMovement * 0.5f);
  s.animMovement = s.physicsMovement;
  if (!currentAnim.positions.empty()) {
    s.animMovement = (tabled ? facts.frames[frame].movement : CalculateMovementAtFrame(*facts.positions, frame, 1))
                         .GetRotated2D(startAngle);
  }
  s.movement = s.physicsMovement;

  real x, y, z;
  if (tabled) {
    z = facts.frames[frame].bodyAngle;
  } else {
    Quaternion orientation;
    Vector3 dud;
    currentAnim.anim->GetKeyFrame(body, frame, orientation, dud);
    orientation.GetAngles(x, y, z);
  }
  const Vector3 bodyDirection = kDown.GetRotated2D(z + startAngle + currentAnim.rotationSmuggleOffset);

  s.floatVelocity = s.movement.GetLength();
  s.enumVelocity = FloatToEnumVelocity(s.floatVelocity);
  const bool idle = s.enumVelocity == e_Velocity_Idle;
  s.directionVec = idle ? bodyDirection : s.movement.GetNormalized();
  s.position = position;
  s.angle = ModulateIntoRange(-pi, pi, FixAngle(s.directionVec.GetAngle2D()));

  constexpr int kAllowed = sizeof(allowedBodyDirVecs) / sizeof(allowedBodyDirVecs[0]);
  struct Angles {
    radian of[kAllowed];
    Angles() {
      for (int i = 0; i < kAllowed; i++) of[i] = allowedBodyDirVecs[i].GetAngle2D(kDown);
    }
  };
  static const Angles allowedAngles;
  if (idle) {
    s.relBodyDirectionVecNonquantized = kDown;
    s.relBodyDirectionVec = kDown;
    s.relBodyAngle = s.relBodyAngleNonquantized = allowedAngles.of[0];  // that of "down"
  } else {
    // Some pairs of speed and body angle are impossible: the angle gives way.
    Vector3 relative = bodyDirection.GetRotated2D(-s.angle);
    radian angle = relative.GetAngle2D(kDown);
    const float off = std::fabs(real(angle));
    float limit = 0;
    if (s.enumVelocity == e_Velocity_Sprint && off >= 0.125f * pi) {
      limit = 0.12f * pi * signSide(angle);
    } else if (s.enumVelocity == e_Velocity_Walk && off >= 0.5f * pi) {
      limit = 0.495f * pi * signSide(angle);
    }
    if (limit != 0) {
      relative = kDown.GetRotated2D(limit);
      angle = relative.GetAngle2D(kDown);
    }
    s.relBodyDirectionVecNonquantized = relative;
    s.relBodyAngleNonquantized = angle;

    int best = -1;
    float bestDot = -1.0f;
    for (int i = 0; i < kAllowed; i++) {
      const float dot = allowedBodyDirVecs[i].GetDotProduct(relative);
      if (dot > bestDot) {
        bestDot = dot;
        best = i;
      }
    }
    s.relBodyDirectionVec = best >= 0 ? allowedBodyDirVecs[best] : Vector3(0);
    s.relBodyAngle = best >= 0 ? allowedAngles.of[best] : s.relBodyDirectionVec.GetAngle2D(kDown);
  }
  s.bodyDirectionVec = s.relBodyDirectionVec.GetRotated2D(s.angle);
  s.bodyAngle = s.bodyDirectionVec.GetAngle2D(kDown);

  previousPosition2D = position;
}

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::CalculatePhysicsVector
Vector3 HumanoidBase::CalculatePhysicsVector(Animation *anim, bool useDesiredMovement, const Vector3 &desiredMovement,
                                             bool useDesiredBodyDirection, const Vector3 &desiredBodyDirectionRel,
                                             std::vector<Vector3> &positions_ret, radian &rotationOffset_ret) const {
  const MoveFacts& facts = anims->Facts(anim, match);
  const e_DefString type = facts.type;
  const bool touch = facts.touchFrame > 0;
  const bool sliding = type == e_DefString_Sliding;
  const float agility = player->GetStat(physical_agility);
  const float acceleration = player->GetStat(physical_acceleration);
  const float startAngle = spatialState.angle;
  const float cosine = std::cos(startAngle), sine = std::sin(startAngle);

  // ---- what the player wants, what the animation does, and who has the say

  float animShare = touch ? 1.0f : 0.0f;  // of the animation in the movement at the end
  float physicsBias = 1.0f;               // of physics in the way there
  switch (type) {
    case e_DefString_BallControl:
    case e_DefString_Trap:
    case e_DefString_Sliding:
      animShare = 0.0f;
      break;
    case e_DefString_Interfere:
      animShare = 0.0f;
      physicsBias = 0.5f;
      break;
    case e_DefString_Deflect:
    case e_DefString_Special:
      animShare = 1.0f;
      physicsBias = 0.0f;
      break;
    case e_DefString_Trip:
      animShare = 0.5f;
      physicsBias = facts.firstTripType ? 0.5f : 0.0f;
      break;
    case e_DefString_ShortPass:
    case e_DefString_HighPass:
    case e_DefString_Shot:
      physicsBias = 0.0f;
      break;
    default:
      break;
  }
  if (facts.incomingSpecial || facts.outgoingSpecial) animShare = 1.0f;
  if (facts.incomingSpecial) physicsBias = 0.0f;

  // The animation's own first movement has no weight, save that +0 and -0 add up to +0.
  const Vector3 animIncoming = Rotated(kDown, cosine, sine) * facts.incomingSpeed;
  const Vector3 current = animIncoming * 0.0f + spatialState.movement * 1.0f;
  const Vector3 animOutgoing = Rotated(facts.outgoingMovement, cosine, sine);
  const Vector3 desired =
      animOutgoing * animShare + (useDesiredMovement ? desiredMovement : animOutgoing) * (1.0f - animShare);
  const float desiredSpeed = desired.GetLength();
  const Vector3 desiredNormal = desired.GetNormalized(Vector3(0));

  const float topSpeed = player->GetMaxVelocity();
  const float maxVelocity = touch ? topSpeed * 0.92f : topSpeed;

  const float penalty = std::pow(
      clamp((facts.difficulty - 0.0f) * (1.0f - (agility * 0.2f + acceleration * 0.2f)) * 2.0f, 0.0f, 1.0f), 0.7f);
  float power = 1.0f - clamp(pow(player->GetLastTouchBias(1000), 0.8f) *
                                 (0.8f - player->GetStat(technical_dribble) * 0.3f),
                             0.0f, 0.4f);
  power *= 1.0f - clamp(decayingPositionOffset.GetLength() * (10.0f - player->GetStat(physical_balance) * 5.0f) - 0.1f,
                        0.0f, 0.3f);

  // ---- how far the animation is turned towards the desired direction

  float turn = 0;
  if (physicsBias > 0.0f) {
    float maxUnder = 0.125f * pi, maxOver = 0.125f * pi, maxStraight = 0.125f * pi;
    if (sliding) {
      maxUnder = maxOver = maxStraight = 0.5f * pi;
    } else if (touch) {
      float bonus =
          1.0f - std::pow(NormalizedClamp((current + animOutgoing).GetLength() * 0.5f, 0, sprintVelocity), 0.8f) * 0.8f;
      bonus *= 0.6f + 0.4f * player->GetStat(technical_ballcontrol);
      maxUnder = 0.2f * pi * bonus;
      maxOver = 0;
      maxStraight = 0.1f * pi * bonus;
    }
    const Vector3 from = IsIdle(animOutgoing.GetLength()) ? Rotated(facts.outgoingDirection, cosine, sine)
                                                          : animOutgoing.GetNormalized(Vector3(0));
    const Vector3 to = IsIdle(desiredSpeed) ? Rotated(desiredBodyDirectionRel, cosine, sine) : desiredNormal;
    const float wanted = to.GetAngle2D(from);
    if (std::fabs(wanted) <= 0.5f * pi || sliding) {
      const float change = from.GetAngle2D(spatialState.directionVec);
      float most = maxStraight;
      if (std::fabs(change) > 0.06f * pi) most = signSide(wanted) == signSide(change) ? maxOver : maxUnder;
      turn = clamp(wanted, -most, most);
    }
  }

  // ---- which frame of the animation is played when

  const int frames = facts.frameCount, last = frames - 1;
  const bool steps = type == e_DefString_Movement, control = type == e_DefString_BallControl;
  unsigned few[BentFrames::kMost];
  std::vector<unsigned> many;
  unsigned* played = few;
  if (frames > BentFrames::kMost) {
    many.resize(frames);
    played = many.data();
  }
  if (physicsBias > 0.0f && (control || steps)) {
    float lag = 1.4f - _default_AgilityFactor * 0.8f;
    lag *= 1.2f - agility * 0.4f;
    if (touch) {
      lag += -0.1f + clamp(facts.difficulty * 0.4f, 0.0f, 0.5f);
    } else {
      lag += -0.2f + clamp(facts.difficulty * 0.2f, 0.0f, 0.2f);
    }
    lag = clamp(lag, 0.25f, 4.0f);
    // Before the touch the player must not be turned around too much.
    const float early = touch ? std::max(lag, 0.7f) : lag;
    const int split = touch ? std::min(facts.touchFrame, frames) : 0;
    BentFrames::Write(last, early * physicsBias + 1.0f * (1.0f - physicsBias), 0, split, played);
    BentFrames::Write(last, lag * physicsBias + 1.0f * (1.0f - physicsBias), split, frames, played);
  } else {
    BentFrames::Write(last, 1.0f, 0, frames, played);
  }

  // ---- frame by frame

  static const FirstSteps firstSteps;
  const bool stretches = steps || control || type == e_DefString_Trap;
  const bool resisted = !sliding && type != e_DefString_Deflect;
  const float maxSlower = touch ? 1.2f : 1.6f;

  float maxAngleFactor = 1.0f * (10 / 1000.0f);
  maxAngleFactor *= (0.7f + 0.3f * agility);
  if (!touch) maxAngleFactor *= 1.5f;
  const float slowMaxAngle = maxAngleFactor * pi;

  float fullChange = 0.03f;
  if (type == e_DefString_Trip) fullChange *= 0.7f;
  if (sliding) fullChange = 0.1f;

  const float accelerationMultiplier = 0.5f + _default_AccelerationFactor;
  float accelerationPower = 11.0f * accelerationMultiplier;
  accelerationPower *= 1.0f - penalty * 0.4f;
  const float accelerationStat = acceleration * 0.3f + 0.7f;

  Vector3 movement = current, position;
  float speed = movement.GetLength();
  positions_ret.clear();
  positions_ret.reserve(frames);
  for (int frame = 0; frame < frames; frame++) {
    const float share = BentFrames::Share(frame, last);
    const Vector3 animMovement = Rotated(facts.frames[played[frame]].movement, cosine, sine);
    float animSpeed = animMovement.GetLength();
    Vector3 target = animMovement;

    // Fast players stretch the animation's sprint.
    if (stretches && animSpeed > walkSprintSwitch && maxVelocity > animSpeed) {
      animSpeed = StretchSprintTo(animSpeed, animSprintVelocity, maxVelocity);
      target = target.GetNormalized(Vector3(0)) * animSpeed;
    }

    // The player may leave the animation's speed by so much; being faster already is allowed for a while.
    float maxFaster = 0.0f;
    if (speed > animSpeed) maxFaster = std::min(0.0f + 1.0f * (1.0f - share), std::max(0.0f, speed - animSpeed));
    if (maxFaster > 0) maxFaster *= std::max(0.0f, target.GetNormalizedMax(1.0f).GetDotProduct(desiredNormal));
    if (sliding) maxFaster = 100;
    animSpeed = clamp(desiredSpeed, animSpeed - maxSlower, animSpeed + maxFaster);
    target = target.GetNormalized(Vector3(0)) * animSpeed;

    const float turned = turn * share;
    target = turned == 0.0f ? Rotated(target, 1.0f, turned) : Rotated(target, std::cos(turned), std::sin(turned));
    target = target * physicsBias + animMovement * (1.0f - physicsBias);
    Vector3 change = target - movement;

    // Turning sharply at speed costs speed.
    const float speedShare = NormalizedClamp(speed, 0, sprintVelocity);
    const Vector3 planned = movement + change;
    if (speed > idleDribbleSwitch && planned.GetLength() > idleDribbleSwitch) {
      const float maxAngle = slowMaxAngle / (speedShare + 0.01f);
      const float cross = planned.coords[0] * movement.coords[1] - planned.coords[1] * movement.coords[0];
      const float dot = planned.coords[0] * movement.coords[0] + planned.coords[1] * movement.coords[1];
      if (!(std::fabs(cross) < 0.999f * maxAngle * dot)) {
        const float angle = std::fabs(real(planned.GetNormalized().GetAngle2D(movement.GetNormalized())));
        if (angle > maxAngle) change += -movement * clamp((angle - maxAngle) / pi * 3.0f, 0.0f, 1.0f);
      }
    }

    // Muscles change a movement by so much in a frame.
    const float fastness = speedShare == 0.0f ? 0.0f : std::pow(speedShare, 1.5f);
    const float firstStep = steps ? fastness * 0.4f : fastness;
    float maxChange = fullChange;
    maxChange *= (1.0f - firstStep) + firstStep * firstSteps.power[std::min(frame, FirstSteps::kFrames - 1)];
    maxChange *= 1.2f - fastness * 0.4f;
    maxChange *= 0.75f + _default_AgilityFactor * 0.5f;
    maxChange *= power;
    change.NormalizeMax(std::min(change.GetLength(), maxChange * 10));

    // Air resists acceleration, the more the faster the player is.
    if (resisted) {
      const Vector3 faster = movement + change;
      const float fasterSpeed = faster.GetLength();
      if (fasterSpeed > idleDribbleSwitch && fasterSpeed > speed) {
        const float gained = fasterSpeed - speed;
        const float near = clamp((speed - idleDribbleSwitch) / (topSpeed - idleDribbleSwitch), 0.0f, 1.0f);
        const float least = accelerationPower * (1.0f - near) * accelerationStat * (10 / 1000.0f);
        if (!(gained < 0.999f * least)) {
          const Vector3 forward = faster.GetNormalized(Vector3(0)) * gained;
          const float addition = forward.GetLength();
          const float resistance = clamp(std::pow(near, 1.8f), 0.0f, 1.0f);
          const float most = accelerationPower * (1.0f - resistance) * accelerationStat * (10 / 1000.0f);
          if (addition > most) change = change - forward * (1.0f - most / addition);
        }
      }
    }

    movement = movement + change;
    speed = movement.GetLength();

    // A move must end as idle as its animation does.
    if (frame >= frames - 2 && facts.endsIdle != IsIdle(speed)) {
      movement = facts.endsIdle ? Vector3(0) : animOutgoing.GetNormalizedTo(dribbleVelocity);
      speed = movement.GetLength();
    }
    position += movement * 1.0f * (10 / 1000.0f);
    positions_ret.push_back(position);
  }

  if (!facts.endsIdle && !IsIdle(speed)) {
    rotationOffset_ret = movement.GetRotated2D(-spatialState.angle).GetAngle2D(facts.outgoingMovement);
  } else {
    rotationOffset_ret = turn * physicsBias;
  }
  return movement;
}

// @before onthepitch/player/humanoid/humanoid.cpp Humanoid::CalculateGeomOffsets
namespace {

Quaternion AroundAxis(radian angle, const Vector3& axis) {
  Quaternion result;
  result.SetAngleAxis(angle, axis);
  return result;
}

// How legs are bent when a player is slower than his animation.
struct SlowLegs {
  static constexpr float bend = 0.8f;
  const Quaternion leftHip = AroundAxis(-0.15f * pi * bend, Vector3(1, 0.06, -0.12).GetNormalized());
  const Quaternion rightHip = AroundAxis(-0.15f * pi * bend, Vector3(1, -0.06, 0.12).GetNormalized());
  const Quaternion knee = AroundAxis(0.3f * pi * bend, Vector3(1, 0, 0));
  const Quaternion ankle = AroundAxis(-0.1f * pi * bend, Vector3(1, 0, 0));
};

}  // namespace

// @replace onthepitch/player/humanoid/humanoid.cpp Humanoid::CalculateGeomOffsets
void Humanoid::CalculateGeomOffsets() {
  static const SlowLegs slowLegs;
  const Quaternion none(QUATERNION_IDENTITY);
  for (int part = middle; part <= body; part++) SetOffset(BodyPart(part), 0.0, none);
  if (!match->IsInPlay() || match->GetBallRetainer() == player ||
      currentAnim.functionType != e_FunctionType_Movement)
    return;

  // Legs follow the true speed.
  const float actualSpeed = spatialState.actualMovement.GetLength();
  const float animSpeed = spatialState.animMovement.GetLength();
  const float allowedFaster = actualSpeed > 7.0f ? 0.1 : 0.0;
  const float speedFactor = clamp((actualSpeed + 0.2f) / (animSpeed + 0.2f), 0.1f, 1.0f + allowedFaster);
  const float legBias = (1.0f - speedFactor) * 0.7f;
  SetOffset(left_thigh, legBias, slowLegs.leftHip);
  SetOffset(right_thigh, legBias, slowLegs.rightHip);
  SetOffset(left_knee, legBias, slowLegs.knee);
  SetOffset(right_knee, legBias, slowLegs.knee);
  SetOffset(left_ankle, legBias, slowLegs.ankle);
  SetOffset(right_ankle, legBias, slowLegs.ankle);

  // Trunk and head turn to the ball.
  if (!CastPlayer()->HasPossession()) {
    const Vector3 toBall =
        (match->GetMentalImage(mentalImageTime)->GetBallPrediction(10).Get2D() - spatialState.position)
            .GetNormalized(spatialState.directionVec);
    float angle =
        toBall.GetAngle2D(spatialState.relBodyDirectionVecNonquantized.GetRotated2D(spatialState.angle));
    angle = clamp(fabs(angle) - 0.05f * pi, 0.0f, pi) * signSide(angle);
    float bias = std::pow(1.0f - fabs(angle / pi), 0.3f);
    bias = clamp(bias * 0.5f, 0.0f, 1.0f);
    const float ballDistance = match->GetBall()->Predict(100).Get2D().GetDistance(spatialState.position);
    const float close = 1.6f;
    if (ballDistance < close) bias *= NormalizedClamp(ballDistance, close * 0.4f, close);
    bias *= 1.0f - std::pow(NormalizedClamp(spatialState.floatVelocity, idleVelocity, sprintVelocity - 0.5f), 2.0f) *
                       0.3f;
    const Quaternion toTheBall = AroundAxis(angle, Vector3(0, 0, 1)).GetNormalized();
    SetOffset(middle, bias * 0.3f, toTheBall, true);
    SetOffset(neck, bias * 0.7f, toTheBall, true);
  }

  // Arms keep an opponent away who follows closely.
  Player* opponent = match->GetTeam(abs(team->GetID() - 1))->GetBestPossessionPlayer();
  const Vector3 toOpponent = opponent->GetPosition() - spatialState.position;
  if (!(toOpponent.GetLength() < 1.4) || !(opponent->GetDirectionVec().GetDotProduct(spatialState.directionVec) > 0.0))
    return;
  const Vector3 ahead = Vector3(0, -1, 0).GetRotated2D(spatialState.angle).GetRotated2D(spatialState.relBodyAngle);
  const float angle = ahead.GetAngle2D(toOpponent.GetNormalized(ahead));
  const float off = std::fabs(angle);
  const bool right = angle > 0;
  const float influence = 0.9f;
  const auto raiseArm = [&](const Quaternion& shoulder, float shoulderBias, const Quaternion& elbow, float elbowBias) {
    SetOffset(right ? right_shoulder : left_shoulder, shoulderBias * influence, shoulder.GetNormalized());
    SetOffset(right ? right_elbow : left_elbow, elbowBias * influence, elbow.GetNormalized());
  };
  const Quaternion sideways = AroundAxis(right ? 0.4 * pi : -0.4 * pi, Vector3(0, 1, 0));
  if (off > 0.6 * pi && off < 0.85 * pi) {  // he is behind, to one side
    raiseArm(sideways, 0.8f, AroundAxis(0, Vector3(0, 1, 0)), 0.7f);
    SetOffset(middle, 0.3f * influence, AroundAxis(0.2f * pi, Vector3(1, 0, 0)).GetNormalized());
  }
  if (off > 0.2 * pi && off <= 0.6 * pi)  // he is beside
    raiseArm(sideways, 0.7f, AroundAxis(-0.5 * pi, Vector3(1, 0, 0)), 0.8f);
  if (off < 0.2)  // he is in front
    raiseArm(AroundAxis(-0.4 * pi, Vector3(1, 0, 0)), 0.6f, AroundAxis(-0.2 * pi, Vector3(1, 0, 0)), 0.8f);
}
