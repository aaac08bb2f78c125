// Choosing among the animations that the sieve let through, each is rated once.
//
// The candidates are sorted stably by about ten criteria in turn; the engine computes the ratings of both sides of
// every comparison. Here a rating is computed once for each candidate, from a table of what depends on the animation
// alone, and candidates are sorted by it, or left alone if they are in order already. Where only those like the best
// are kept, the best is looked for first, and only those that are kept are sorted. Engines with equal animations share
// the table.
//
// Exact: a rating is the number that the engine's comparison computes, by the same operations; its
// comparisons are "rating of the first < rating of the second", and all stable sorts by one rating agree. (A rating
// that is no number has no order: then the engine's own algorithm is run, with the same comparisons.)

// @needs shared_animations

// @top onthepitch/player/humanoid/animcollection.hpp
#include <vector>

// What criteria need of animations, all of it constant; by index of animation unless said otherwise.
struct ChoiceTable {
  // What every candidate is asked for.
  struct Kind {
    uint16_t movement; // index into `movements`
    uint8_t quadrant;
    bool base : 1, lastDitch : 1;
  };
  struct Movement {
    Vector3 direction; // outgoing, snapped to the nearest preferred one
    Vector3 movement;  // the same with outgoing speed
  };
  // What the direction at the end is rated by.
  struct Gaze {
    Vector3 translation;
    float bodyPenalty; // for not ending straight ahead
    float angle;       // outgoing angle plus body angle, both snapped
    int end;           // index into `ends`
  };
  struct End {
    Vector3 direction, body;
  };
  // What the rest of the criteria look at.
  struct Facts {
    double priority;
    float idleLevel;
    Vector3 bodyIn; // body direction at the start, snapped to the nearest allowed one
    Vector3 trip;   // direction of a fall
    int8_t velocityIn, velocityOut;
    int8_t foot;
    bool startsIdle, catches;
  };
  std::vector<Kind> kinds;
  std::vector<Movement> movements;
  std::vector<Gaze> gazes;
  std::vector<End> ends;
  std::vector<Facts> facts;
};

// @members onthepitch/player/humanoid/animcollection.hpp SharedAnimations
  MadeOnce<ChoiceTable> choice;

// @members onthepitch/player/humanoid/humanoidbase.hpp HumanoidBase

  protected:
    using Comparison = bool (HumanoidBase::*)(int, int) const;
    using FootComparison = bool (HumanoidBase::*)(e_Foot, int, int) const;
    using Rating = double (HumanoidBase::*)(const ChoiceTable &, int) const;

    double RateFoot(const ChoiceTable &of, int id) const;
    double RateIncomingVelocity(const ChoiceTable &of, int id) const;
    double RateIncomingBodyDirection(const ChoiceTable &of, int id) const;
    double RateMovement(const ChoiceTable &of, int id) const;
    double RateBodyDirection(const ChoiceTable &of, int id) const;
    double RateTripDirection(const ChoiceTable &of, int id) const;
    double RateBase(const ChoiceTable &of, int id) const;
    double RateCatch(const ChoiceTable &of, int id) const;
    double RateIdleLevel(const ChoiceTable &of, int id) const;
    double RatePriority(const ChoiceTable &of, int id) const;

    const ChoiceTable &Choice() const;
    ChoiceTable MakeChoiceTable() const;
    // The rating behind a comparison; called like boost::bind, which it stands in for.
    template <class... Placeholders>
    Rating RatedBy(Comparison comparison, const HumanoidBase *, Placeholders...) const {
      return RatingBehind(comparison);
    }
    template <class... Placeholders>
    Rating RatedBy(FootComparison, const HumanoidBase *, e_Foot, Placeholders...) const {
      return &HumanoidBase::RateFoot;
    }
    Rating RatingBehind(Comparison comparison) const;
    void SortRated(DataSet::iterator first, DataSet::iterator last, Rating rating) const;

    template <class Rate, class Keep>
    void KeepLikeBest(DataSet &dataSet, Rate rate, bool preferBase, Keep keep) const;

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::_KeepBestDirectionAnims
namespace {

struct RatedAnim {
  double rating;
  int id;
  bool operator<(const RatedAnim &other) const { return rating < other.rating; }
};

// Room for some of them; on the stack, if it suffices.
class RatedAnims {
  public:
    explicit RatedAnims(size_t size) {
      if (size > kFew) many.resize(size), first = many.data();
    }
    RatedAnim *begin() { return first; }

  private:
    static constexpr size_t kFew = 256;
    RatedAnim few[kFew];
    std::vector<RatedAnim> many;
    RatedAnim *first = few;
};

bool InOrder(const RatedAnim *begin, const RatedAnim *end) {
  for (const RatedAnim *anim = begin + 1; anim < end; anim++) {
    if (!(anim[-1].rating <= anim->rating)) return false; // so of numbers only
  }
  return true;
}

}  // namespace

ChoiceTable HumanoidBase::MakeChoiceTable() const {
  ChoiceTable table;
  // Index of what equals `wanted` bit by bit, which is added if it is new.
  auto indexOf = [](auto &all, const auto &wanted) {
    size_t i = 0;
    while (i < all.size() && memcmp(&all[i], &wanted, sizeof wanted) != 0) i++;
    if (i == all.size()) all.push_back(wanted);
    return i;
  };
  for (const Animation *anim : anims->GetAnimations()) {
    const VariableCache &variables = anim->GetVariableCache();

    ChoiceTable::Movement movement;
    movement.direction = ForceIntoPreferredDirectionVec(anim->GetOutgoingDirection());
    movement.movement = movement.direction * RangeVelocity(anim->GetOutgoingVelocity());
    ChoiceTable::Kind kind;
    kind.movement = indexOf(table.movements, movement);
    kind.quadrant = variables.quadrant_id(); // of 34
    kind.base = variables.baseanim();
    kind.lastDitch = variables.lastditch();
    table.kinds.push_back(kind);

    ChoiceTable::Gaze gaze;
    gaze.translation = anim->GetTranslation();
    gaze.bodyPenalty = fabs(anim->GetOutgoingBodyAngle()) * 0.05f;
    gaze.angle = ForceIntoAllowedBodyDirectionAngle(anim->GetOutgoingBodyAngle()) +
                 ForceIntoPreferredDirectionAngle(anim->GetOutgoingAngle());
    gaze.end = indexOf(table.ends, ChoiceTable::End{anim->GetOutgoingDirection(), anim->GetOutgoingBodyDirection()});
    table.gazes.push_back(gaze);

    const std::string trip = anim->GetVariable("bumpdirection");
    ChoiceTable::Facts facts;
    facts.priority = fabs(atof(anim->GetVariable("priority").c_str()));
    facts.idleLevel = variables.idlelevel();
    facts.bodyIn = ForceIntoAllowedBodyDirectionVec(anim->GetIncomingBodyDirection());
    facts.trip = trip.empty() ? Vector3(0) : GetVectorFromString(trip);
    facts.velocityIn = GetVelocityID(FloatToEnumVelocity(anim->GetIncomingVelocity()));
    facts.velocityOut = GetVelocityID(FloatToEnumVelocity(anim->GetOutgoingVelocity()));
    facts.foot = anim->GetCurrentFoot();
    facts.startsIdle = FloatToEnumVelocity(anim->GetIncomingVelocity()) == e_Velocity_Idle;
    facts.catches = !anim->GetVariable("outgoing_retain_state").empty();
    table.facts.push_back(facts);
  }
  return table;
}

const ChoiceTable &HumanoidBase::Choice() const {
  return anims->Shared().choice.Get([this] { return MakeChoiceTable(); });
}

HumanoidBase::Rating HumanoidBase::RatingBehind(Comparison comparison) const {
  static const struct {
    Comparison comparison;
    Rating rating;
  } known[] = {
      {&HumanoidBase::CompareIncomingVelocitySimilarity, &HumanoidBase::RateIncomingVelocity},
      {&HumanoidBase::CompareIncomingBodyDirectionSimilarity, &HumanoidBase::RateIncomingBodyDirection},
      {&HumanoidBase::CompareMovementSimilarity, &HumanoidBase::RateMovement},
      {&HumanoidBase::CompareBodyDirectionSimilarity, &HumanoidBase::RateBodyDirection},
      {&HumanoidBase::CompareTripDirectionSimilarity, &HumanoidBase::RateTripDirection},
      {&HumanoidBase::CompareBaseanimSimilarity, &HumanoidBase::RateBase},
      {&HumanoidBase::CompareCatchOrDeflect, &HumanoidBase::RateCatch},
      {&HumanoidBase::CompareIdleVariable, &HumanoidBase::RateIdleLevel},
      {&HumanoidBase::ComparePriorityVariable, &HumanoidBase::RatePriority},
  };
  for (const auto &pair : known) {
    if (pair.comparison == comparison) return pair.rating;
  }
  Log(e_FatalError, "HumanoidBase", "RatingBehind", "a comparison of animations without its rating");
  return nullptr;
}

double HumanoidBase::RateFoot(const ChoiceTable &of, int id) const {
  return of.facts[id].foot == predicate_DesiredFoot || of.facts[id].startsIdle ? 0 : 1;
}

double HumanoidBase::RateIncomingVelocity(const ChoiceTable &of, int id) const {
  // Steps of speed that the start is off, and half a step more if it is a detour.
  const int now = GetVelocityID(predicate_IncomingVelocity);
  const int in = of.facts[id].velocityIn, out = of.facts[id].velocityOut;
  float rating = fabs(clamp(in - now, -3, 3));
  if (in > std::max(now, out)) rating += 0.5f;
  if (in < std::min(now, out)) rating += 0.5f;
  return rating;
}

double HumanoidBase::RateIncomingBodyDirection(const ChoiceTable &of, int id) const {
  if (of.facts[id].startsIdle) return 0;
  const Vector3 desired = ForceIntoAllowedBodyDirectionVec(predicate_RelIncomingBodyDirection);
  float rating = fabs(of.facts[id].bodyIn.GetAngle2D(desired)) / pi;
  return rating;
}

double HumanoidBase::RateMovement(const ChoiceTable &of, int id) const {
  const ChoiceTable::Movement &movement = of.movements[of.kinds[id].movement];
  const Vector3 desired =
      predicate_RelDesiredDirection * EnumToFloatVelocity(predicate_DesiredVelocity) * (1.0f - predicate_CorneringBias);
  float rating = (desired - movement.movement).GetLength();
  rating -= fabs(predicate_RelDesiredDirection.GetDotProduct(movement.direction)) * 4.0f;
  return rating;
}

double HumanoidBase::RateBodyDirection(const ChoiceTable &, int id) const {
  return DirectionSimilarityRating(id);
}

double HumanoidBase::RateTripDirection(const ChoiceTable &of, int id) const {
  float rating = -of.facts[id].trip.GetDotProduct(predicate_RelDesiredTripDirection);
  return rating;
}

double HumanoidBase::RateBase(const ChoiceTable &of, int id) const {
  return of.kinds[id].base ? 0 : 1;
}

double HumanoidBase::RateCatch(const ChoiceTable &of, int id) const {
  return of.facts[id].catches ? 0 : 1;
}

double HumanoidBase::RateIdleLevel(const ChoiceTable &of, int id) const {
  return fabs(of.facts[id].idleLevel - predicate_idle);
}

double HumanoidBase::RatePriority(const ChoiceTable &of, int id) const {
  return of.facts[id].priority;
}

void HumanoidBase::SortRated(DataSet::iterator first, DataSet::iterator last, Rating rating) const {
  if (last - first < 2) return;
  const ChoiceTable &table = Choice();
  RatedAnims rated(last - first);
  RatedAnim *end = rated.begin();
  for (auto id = first; id != last; ++id) *end++ = {(this->*rating)(table, *id), *id};
  if (InOrder(rated.begin(), end)) return;
  std::stable_sort(rated.begin(), end);
  for (const RatedAnim *anim = rated.begin(); anim != end; ++anim) *first++ = anim->id;
}

// Sorts by `rate`, base animations before others if `preferBase`, and keeps the best and those that `keep`, called with
// one and the best, lets through. (It lets the best through.)
template <class Rate, class Keep>
void HumanoidBase::KeepLikeBest(DataSet &dataSet, Rate rate, bool preferBase, Keep keep) const {
  if (dataSet.size() < 2) return;
  const ChoiceTable &table = Choice();
  RatedAnims rated(dataSet.size());
  RatedAnim *const begin = rated.begin();
  RatedAnim *end = begin;
  bool numbers = true;
  for (int id : dataSet) {
    const double rating = rate(id);
    numbers &= rating == rating;
    *end++ = {rating, id};
  }
  auto later = [&](const RatedAnim &anim) { return preferBase && !table.kinds[anim.id].base; };
  auto before = [&](const RatedAnim &a, const RatedAnim &b) {
    return later(a) != later(b) ? later(b) : a.rating < b.rating;
  };
  auto baseFirst = [&] { std::stable_partition(begin, end, [&](const RatedAnim &anim) { return !later(anim); }); };
  if (!numbers) {
    std::stable_sort(begin, end);
    baseFirst();
  }
  const RatedAnim best = numbers ? *std::min_element(begin, end, before) : *begin;
  end = std::remove_if(begin, end, [&](const RatedAnim &anim) { return anim.id != best.id && !keep(anim.id, best.id); });
  if (numbers) {
    if (!InOrder(begin, end)) std::stable_sort(begin, end);
    if (preferBase) baseFirst();
  }
  dataSet.clear();
  for (const RatedAnim *anim = begin; anim != end; ++anim) dataSet.push_back(anim->id);
}

void HumanoidBase::_KeepBestDirectionAnims(DataSet &dataSet, const PlayerCommand &command, bool strict,
                                           radian allowedAngle, int allowedVelocitySteps, int forcedQuadrantID) {
  assert(forcedQuadrantID == -1); // as in all calls
  const ChoiceTable &table = Choice();
  const bool preferBase = strict && command.desiredFunctionType != e_FunctionType_Movement;
  constexpr int kMovements = 64; // of at most eleven directions and four speeds
  float ratings[kMovements];
  bool rated[kMovements] = {};
  auto rate = [&](int id) -> double {
    const int movement = table.kinds[id].movement;
    if (movement >= kMovements) return RateMovement(table, id);
    if (!rated[movement]) ratings[movement] = RateMovement(table, id), rated[movement] = true;
    return ratings[movement];
  };
  KeepLikeBest(dataSet, rate, preferBase, [&](int id, int bestId) {
    const ChoiceTable::Kind of = table.kinds[id], best = table.kinds[bestId];
    if (strict) return of.quadrant == best.quadrant;
    const Quadrant &quadrant = anims->GetQuadrant(of.quadrant), &bestQuadrant = anims->GetQuadrant(best.quadrant);
    const int steps = GetVelocityID(quadrant.velocity, true) - GetVelocityID(bestQuadrant.velocity, true);
    if (!of.lastDitch && (steps > allowedVelocitySteps || -steps > allowedVelocitySteps)) return false;
    return !(fabs(quadrant.angle - bestQuadrant.angle) > allowedAngle);
  });
}

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::_KeepBestBodyDirectionAnims
void HumanoidBase::_KeepBestBodyDirectionAnims(DataSet &dataSet, const PlayerCommand &command, bool strict,
                                               radian allowedAngle) {
  const ChoiceTable &table = Choice();
  const bool preferBase = strict && command.desiredFunctionType != e_FunctionType_Movement;
  const float tolerance = strict ? radian(0.06f * pi) : allowedAngle;

  // As DirectionSimilarityRating; many animations share the directions at their ends, and so the body's then.
  const Vector3 toLookAt = (predicate_LookAt - spatialState.position).GetRotated2D(-spatialState.angle);
  const radian maxSmuggle = 0.1f * pi;
  std::vector<std::pair<int, Vector3>> predicted;
  auto predictedBody = [&](int end) {
    for (const auto &known : predicted) {
      if (known.first == end) return known.second;
    }
    const ChoiceTable::End &of = table.ends[end];
    const radian smuggle = clamp(predicate_RelDesiredDirection.GetAngle2D(of.direction), -maxSmuggle, maxSmuggle);
    const radian angle = of.direction.GetRotated2D(smuggle).GetAngle2D(Vector3(0, -1, 0));
    predicted.emplace_back(end, of.body.GetRotated2D(angle));
    return predicted.back().second;
  };
  auto rate = [&](int id) {
    const ChoiceTable::Gaze &of = table.gazes[id];
    const Vector3 desired = (toLookAt - of.translation).GetNormalized(Vector3(0, -1, 0));
    radian rating = fabs(predictedBody(of.end).GetAngle2D(desired));
    rating += of.bodyPenalty;
    return real(rating);
  };
  KeepLikeBest(dataSet, rate, preferBase, [&](int id, int bestId) {
    return fabs(table.gazes[id].angle - table.gazes[bestId].angle) <= tolerance;
  });
}

// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::GetIdleMovementAnimID std::stable_sort SortRated 5
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::GetIdleMovementAnimID boost::bind RatedBy 5
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::SelectAnim std::stable_sort SortRated 7
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::SelectAnim boost::bind RatedBy 7
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectRetainAnim std::stable_sort SortRated
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectRetainAnim boost::bind RatedBy
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectAnim std::stable_sort SortRated 8
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectAnim boost::bind RatedBy 8
