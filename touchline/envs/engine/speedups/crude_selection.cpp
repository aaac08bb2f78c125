// The first sieve for animations (`AnimCollection::CrudeSelection`) remembers its answers.
//
// A query has a part that takes few values (kind of action, speeds, quantised body direction, states of hands and
// body, ...) and three directions that vary freely: where to look, where the ball comes from, where it shall go.
// Every condition depends on one animation and the query only, and animations do not change once they are loaded, so
// the answer to the first part is kept, keyed by the bits of what it reads, and only the conditions upon free
// directions are tested anew, with what they need of an animation taken from a table. Engines with equal animations
// share answers and table.
//
// Exact: conditions reject independently of each other, so their order does not matter, and the
// answer keeps the order of the animations. Angles are compared by sign of sine where it leaves no doubt, and computed
// as ever where it might. Left out: `heedForcedFoot` and `byFoot`, which nothing sets, and the warning that an
// animation has no ball direction.

// @needs shared_animations

// @top onthepitch/player/humanoid/animcollection.hpp
#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

// Answers of the sieve, for all threads: found without a lock, added under one, and never changed or removed.
class SieveAnswers {
  public:
    using Key = std::array<int, 12>;
    // Indices of animations; the two highest bits tell whether the body turns in it, and to the left.
    using Animations = std::vector<uint16_t>;
    static constexpr uint16_t turns = 0x8000, turnsLeft = 0x4000, index = 0x3fff;

    const Animations *Find(const Key &key) const {
      for (size_t at = Start(key);; at = (at + 1) % kSlots) {
        const Answer *answer = slots[at].load(std::memory_order_acquire);
        if (!answer) return nullptr;
        if (answer->key == key) return &answer->animations;
      }
    }

    // Once there are very many answers, which never happens in play, no more are added.
    void Add(const Key &key, const Animations &animations) {
      std::lock_guard<std::mutex> lock(adding);
      if (count == kSlots / 2 || Find(key)) return;
      size_t at = Start(key);
      while (slots[at].load(std::memory_order_relaxed)) at = (at + 1) % kSlots;
      slots[at].store(new Answer{key, animations}, std::memory_order_release);
      count++;
    }

  private:
    struct Answer {
      Key key;
      Animations animations;
    };
    static constexpr size_t kSlots = 8192;

    static size_t Start(const Key &key) {
      uint64_t hash = 0;
      for (int word : key) hash = (hash ^ uint32_t(word)) * 0x9e3779b97f4a7c15ull, hash ^= hash >> 29;
      return hash % kSlots;
    }

    std::atomic<const Answer *> slots[kSlots] = {};
    std::mutex adding;
    size_t count = 0;
};

// What the sieve's conditions upon free directions need of animations, by index.
struct SieveTable {
  struct Body {
    float in[2], out[2]; // its direction on the ground at the start and at the end
  };
  struct Ball {
    Vector3 from; // flattened and normalised
    bool hasFrom;
    float fromTolerance;
    Vector3 to;
    float toTolerance;
  };
  std::vector<Body> body;
  std::vector<Ball> ball;
  std::vector<uint16_t> indices;     // as in answers
  std::vector<std::string> states; // all that animations begin or end in; a state's number in keys is its index
};

// @members onthepitch/player/humanoid/animcollection.hpp SharedAnimations
  MadeOnce<SieveTable> sieve;
  SieveAnswers sieveAnswers;

// @members onthepitch/player/humanoid/animcollection.hpp AnimCollection

  public:
    // The two properties of a query that the sieve reads as text, without the map that a VariableCache carries.
    class QueryProperties {
      public:
        void set(const char *key, const std::string &value) {
          if (!strcmp(key, "incoming_special_state")) special_state = value;
          else if (!strcmp(key, "incoming_retain_state")) retain_state = value;
        }
        void set_specialvar1(float value) { specialvar1 = value; }
        void set_specialvar2(float value) { specialvar2 = value; }

        std::string special_state, retain_state;
        float specialvar1 = 0, specialvar2 = 0;
    };

    struct Query : CrudeSelectionQuery {
      QueryProperties properties;
    };

    void CrudeSelection(DataSet &dataSet, const Query &query);

  private:
    SieveTable MakeSieveTable() const;
    bool Admits(Animation *animation, const Query &query) const;

// @replace onthepitch/player/humanoid/animcollection.cpp AnimCollection::CrudeSelection
namespace {

int Bits(float value) {
  int bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Speeds as the sieve orders them when it asks for an even change: dribbling counts as walking.
int Pace(e_Velocity velocity) {
  return velocity == e_Velocity_Dribble ? e_Velocity_Walk : velocity;
}

e_Side SideOf(radian angle) {
  return angle > 0 ? e_Side_Left : e_Side_Right;
}

Vector3 ParsedVector(const std::string &text) {
  return text.empty() ? Vector3(0) : GetVectorFromString(text);
}

// Minus sine and cosine of `from.GetAngle2D(to)`, times the lengths: exactly the arguments of its atan2.
struct Turn {
  Turn(const Vector3 &from, const Vector3 &to)
      : y(from.coords[0] * to.coords[1] - from.coords[1] * to.coords[0]),
        x(from.coords[0] * to.coords[0] + from.coords[1] * to.coords[1]) {}

  // Neither zero nor tiny nor huge nor a NaN, so that the sign of y is the opposite of that of the angle.
  bool Ordinary() const {
    return fabsf(y) > 1e-15f && fabsf(y) < 1e10f && fabsf(x) < 1e10f;
  }

  float y, x;
};

// Whether a turn from `in` to `out` passes through the direction `fence`, which is behind where one shall look.
// `querySide`: on which side of the current body direction the fence lies.
bool CrossesFence(const Vector3 &in, const Vector3 &out, e_Side turnSide, const Vector3 &fence, e_Side querySide) {
  const Turn before(fence, in), after(out, fence);
  if (before.Ordinary() && after.Ordinary()) {
    const e_Side beforeSide = before.y < 0 ? e_Side_Left : e_Side_Right;
    const e_Side afterSide = after.y < 0 ? e_Side_Left : e_Side_Right;
    if (afterSide != turnSide) return false;
    // |side + angle| < pi, with 0 for left and 1 for right: on the right that is so of any angle in [-pi, 0], on the
    // left of any that does not round to pi.
    if (querySide == turnSide && (turnSide == e_Side_Right || after.x > 0 || after.y < -0.001f * fabsf(after.x))) {
      return true;
    }
    if (querySide != turnSide) {
      if (beforeSide != turnSide) return false;
      // Both angles have the same sign, so the size of their sum is below pi as long as its sine has that sign too.
      const float sine = before.y * after.x + before.x * after.y;
      const float doubt = 0.001f * (fabsf(before.y) + fabsf(before.x)) * (fabsf(after.y) + fabsf(after.x));
      if (fabsf(sine) > doubt) return (sine < 0) == (turnSide == e_Side_Left);
    }
  }
  const radian beforeAngle = fence.GetAngle2D(in);
  const radian afterAngle = out.GetAngle2D(fence);
  if (SideOf(afterAngle) != turnSide) return false;
  return (SideOf(beforeAngle) == turnSide && fabs(beforeAngle + afterAngle) < pi) ||
         (querySide == turnSide && fabs(querySide + afterAngle) < pi);
}

}  // namespace

SieveTable AnimCollection::MakeSieveTable() const {
  if (animations.size() > SieveAnswers::index) {
    Log(e_FatalError, "AnimCollection", "MakeSieveTable", "more animations than an index can tell apart");
  }
  SieveTable table;
  auto know = [&table](const std::string &state) {
    if (std::find(table.states.begin(), table.states.end(), state) == table.states.end()) table.states.push_back(state);
  };
  know("");
  for (Animation *animation : animations) {
    const Vector3 bodyIn = animation->GetIncomingBodyDirection();
    const Vector3 bodyOut = animation->GetOutgoingDirection().GetRotated2D(animation->GetOutgoingBodyAngle());
    table.body.push_back({{bodyIn.coords[0], bodyIn.coords[1]}, {bodyOut.coords[0], bodyOut.coords[1]}});

    const radian turn = bodyOut.GetAngle2D(bodyIn);
    uint16_t index = table.indices.size();
    if (fabs(turn) > 0.06f * pi) index |= SieveAnswers::turns;
    if (turn > 0) index |= SieveAnswers::turnsLeft;
    table.indices.push_back(index);

    SieveTable::Ball ball;
    ball.from = ParsedVector(animation->GetVariable("incomingballdirection"));
    ball.hasFrom = ball.from.GetLength() != 0.0f;
    ball.from.coords[2] *= 0.4f;
    ball.from.Normalize();
    ball.fromTolerance = fabs(atof(animation->GetVariable("incomingballdirection_maxdeviation").c_str()) * pi);
    if (ball.fromTolerance == 0.0f) {
      ball.fromTolerance = maxIncomingBallDirectionDeviation;
      if (animation->GetAnimType() == e_DefString_Deflect) ball.fromTolerance = 0.4f * pi;
    }
    ball.to = ParsedVector(animation->GetVariable("balldirection"));
    ball.to.Normalize(Vector3(0));
    ball.toTolerance = fabs(atof(animation->GetVariable("outgoingballdirection_maxdeviation").c_str()) * pi);
    if (ball.toTolerance == 0.0) ball.toTolerance = maxOutgoingBallDirectionDeviation;
    table.ball.push_back(ball);

    const VariableCache &variables = animation->GetVariableCache();
    know(variables.incoming_special_state());
    know(variables.outgoing_special_state());
    know(variables.incoming_retain_state());
    know(animation->GetVariable("outgoing_retain_state"));
  }
  return table;
}

namespace {

// False if the query is in a state that no animation ends in.
bool KeyOf(const AnimCollection::Query &query, const std::vector<std::string> &states, SieveAnswers::Key &key) {
  const bool flags[] = {query.byFunctionType,
                        query.allowLastDitchAnims,
                        query.byIncomingVelocity,
                        query.incomingVelocity_Strict,
                        query.incomingVelocity_NoDribbleToIdle,
                        query.incomingVelocity_NoDribbleToSprint,
                        query.incomingVelocity_ForceLinearity,
                        query.byOutgoingVelocity,
                        query.byPickupBall,
                        query.pickupBall,
                        query.byIncomingBodyDirection,
                        query.incomingBodyDirection_Strict,
                        query.incomingBodyDirection_ForceLinearity,
                        query.byTripType};
  key = {};
  for (bool flag : flags) key[0] = 2 * key[0] + flag;
  key[1] = query.functionType;
  if (query.byIncomingVelocity) key[2] = query.incomingVelocity;
  if (query.byOutgoingVelocity) key[3] = query.outgoingVelocity;
  if (query.byIncomingBodyDirection) {
    for (int i = 0; i < 3; i++) key[4 + i] = Bits(query.incomingBodyDirection.coords[i]);
  }
  if (query.byTripType) key[7] = query.tripType;
  const auto special = std::find(states.begin(), states.end(), query.properties.special_state);
  const auto retain = std::find(states.begin(), states.end(), query.properties.retain_state);
  if (special == states.end() || retain == states.end()) return false;
  key[8] = special - states.begin();
  key[9] = retain - states.begin();
  key[10] = Bits(query.properties.specialvar1);
  key[11] = Bits(query.properties.specialvar2);
  return true;
}

}  // namespace

// All conditions that read nothing but the key of a query.
bool AnimCollection::Admits(Animation *animation, const Query &query) const {
  if (query.byFunctionType && !_CheckFunctionType(animation->GetAnimType(), query.functionType)) return false;

  const e_Velocity in = FloatToEnumVelocity(animation->GetIncomingVelocity());
  const e_Velocity out = FloatToEnumVelocity(animation->GetOutgoingVelocity());
  const e_Velocity now = query.incomingVelocity;
  if (query.byIncomingVelocity) {
    if (query.incomingVelocity_Strict) {
      if (in != now) return false;
    } else {
      if (in == e_Velocity_Idle && (now == e_Velocity_Walk || now == e_Velocity_Sprint)) return false;
      if (in != e_Velocity_Idle && now == e_Velocity_Idle) return false;
      if (now == e_Velocity_Dribble) {
        if (in == e_Velocity_Idle && query.incomingVelocity_NoDribbleToIdle) return false;
        if (in == e_Velocity_Sprint && query.incomingVelocity_NoDribbleToSprint) return false;
      }
      if (query.incomingVelocity_ForceLinearity) {
        // No detour by way of a faster or slower start.
        if (Pace(in) > std::max(Pace(now), Pace(out)) || Pace(in) < std::min(Pace(now), Pace(out))) return false;
      }
    }
  }
  if (query.byOutgoingVelocity && out != query.outgoingVelocity) return false;

  if (query.byPickupBall && (animation->GetVariable("outgoing_retain_state") != "") != query.pickupBall) return false;

  const VariableCache &variables = animation->GetVariableCache();
  if (variables.lastditch() && !query.allowLastDitchAnims) return false;

  if (query.byIncomingBodyDirection && !(query.byIncomingVelocity && now == e_Velocity_Idle)) {
    const radian margin = 0.06f * pi;
    const Vector3 &body = query.incomingBodyDirection;
    const Vector3 ahead(0, -1, 0);
    if (in == e_Velocity_Idle) {
      const radian angle = ahead.GetAngle2D(body);
      if (query.incomingBodyDirection_Strict ? fabs(angle) > margin : fabs(angle) > 0.25f * pi + margin) return false;
    } else {
      const Vector3 bodyIn = animation->GetIncomingBodyDirection();
      if (fabs(FixAngle(bodyIn.GetAngle2D())) > fabs(FixAngle(body.GetAngle2D())) + margin) return false;
      const radian toBody = bodyIn.GetAngle2D(body);
      if (query.incomingBodyDirection_Strict ? fabs(toBody) > margin : fabs(toBody) > 0.5f * pi + margin) return false;
      if (query.incomingBodyDirection_ForceLinearity) {
        // The animation's start has to lie between the body's direction now and the one it ends with.
        const radian toEnd = bodyIn.GetAngle2D(
            ahead.GetRotated2D(animation->GetOutgoingBodyAngle() + animation->GetOutgoingAngle()));
        if (toEnd > margin && toBody > margin) return false;
        if (toEnd < -margin && toBody < -margin) return false;
        if (fabs(toEnd) + fabs(toBody) > pi + margin) return false;
      }
    }
  }

  const QueryProperties &wanted = query.properties;
  if (wanted.special_state != variables.incoming_special_state()) return false;
  // Hands may be changed while holding the ball, but not in a save.
  const bool holds = wanted.retain_state != "", holdsFirst = variables.incoming_retain_state() != "";
  if ((query.functionType == e_FunctionType_Deflect || holds != holdsFirst) &&
      wanted.retain_state != variables.incoming_retain_state()) {
    return false;
  }
  if (wanted.specialvar1 != variables.specialvar1() || wanted.specialvar2 != variables.specialvar2()) return false;

  return !query.byTripType || int(round(atof(animation->GetVariable("triptype").c_str()))) == query.tripType;
}

void AnimCollection::CrudeSelection(DataSet &dataSet, const Query &query) {
  SharedAnimations &shared = Shared();
  const SieveTable &table = shared.sieve.Get([this] { return MakeSieveTable(); });

  SieveAnswers::Key key;
  const bool keyed = KeyOf(query, table.states, key);
  const SieveAnswers::Animations *answer = keyed ? shared.sieveAnswers.Find(key) : nullptr;
  SieveAnswers::Animations fresh;
  if (!answer) {
    for (size_t i = 0; i < animations.size(); i++) {
      if (Admits(animations[i], query)) fresh.push_back(table.indices[i]);
    }
    if (keyed) shared.sieveAnswers.Add(key, fresh);
    answer = &fresh;
  }

  Vector3 fence;
  e_Side fenceSide = e_Side_Right;
  if (query.bySide) {
    fence = query.lookAtVecRel.GetRotated2D(pi);
    fenceSide = SideOf(fence.GetAngle2D(query.incomingBodyDirection));
  }
  const bool byBallFrom = query.byIncomingBallDirection && query.incomingBallDirection.GetLength() != 0.0f;
  Vector3 ballFrom = query.incomingBallDirection;
  ballFrom.coords[2] *= 0.4f;
  ballFrom.Normalize();

  dataSet.reserve(dataSet.size() + answer->size());
  for (const uint16_t admitted : *answer) {
    const int i = admitted & SieveAnswers::index;
    if (query.bySide && (admitted & SieveAnswers::turns)) {
      const SieveTable::Body &body = table.body[i];
      const e_Side side = admitted & SieveAnswers::turnsLeft ? e_Side_Left : e_Side_Right;
      const Vector3 in(body.in[0], body.in[1], 0), out(body.out[0], body.out[1], 0);
      if (CrossesFence(in, out, side, fence, fenceSide)) continue;
    }
    if (byBallFrom || query.byOutgoingBallDirection) {
      const SieveTable::Ball &ball = table.ball[i];
      if (byBallFrom && ball.hasFrom && fabs(ballFrom.GetAngle2D(ball.from)) > ball.fromTolerance) continue;
      if (query.byOutgoingBallDirection) {
        const Vector3 ballTo = query.outgoingBallDirection.Get2D().GetNormalized(ball.to);
        if (fabs(ballTo.GetAngle2D(ball.to)) > ball.toTolerance) continue;
      }
    }
    dataSet.push_back(i);
  }
}

// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectAnim CrudeSelectionQuery AnimCollection::Query
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectRetainAnim CrudeSelectionQuery AnimCollection::Query
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::SelectAnim CrudeSelectionQuery AnimCollection::Query
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::GetIdleMovementAnimID CrudeSelectionQuery AnimCollection::Query
