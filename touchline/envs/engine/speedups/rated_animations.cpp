// Choosing among the animations that the sieve let through, each is rated once.
//
// The candidates are sorted stably by about ten criteria in turn; the engine computes the ratings of both sides of
// every comparison. Here a rating is computed once for each candidate, from a table of what depends on the animation
// alone, and candidates are sorted by it, or left alone if they are in order already. Where only those like the best
// are kept, the best is looked for first, and only those that are kept are sorted.
//
// Equal to the last bit: a rating is the number that the engine's comparison computes, by the same operations; its
// comparisons are "rating of the first < rating of the second", and all stable sorts by one rating agree. (A rating
// that is no number has no order: then the engine's own algorithm is run, with the same comparisons.)

// @top onthepitch/player/humanoid/animcollection.hpp
// What criteria need of an animation, all of it constant.
struct ChoiceFacts {
  Vector3 direction; // outgoing, snapped to the nearest preferred one
  Vector3 movement;  // the same with outgoing speed
  int sameMovement;  // number of this pair: there are few
  Vector3 bodyIn;    // body direction at the start, snapped to the nearest allowed one
  Vector3 trip;      // direction of a fall
  radian gaze;       // outgoing angle plus body angle, both snapped
  Vector3 translation, directionOut, bodyOut;
  radian bodyPenalty; // for not ending straight ahead
  int sameOut;        // index of the first animation with the same two directions at the end
  float idleLevel;
  double priority;
  int quadrant, velocityIn, velocityOut;
  e_Foot foot;
  bool startsIdle, base, lastDitch, catches;
};

// @members onthepitch/player/humanoid/animcollection.hpp AnimCollection

  public:
    std::vector<ChoiceFacts> choiceFacts; // by index of animation; HumanoidBase::Facts fills it

// @members onthepitch/player/humanoid/humanoidbase.hpp HumanoidBase

  protected:
    using Comparison = bool (HumanoidBase::*)(int, int) const;
    using FootComparison = bool (HumanoidBase::*)(e_Foot, int, int) const;
    using Rating = double (HumanoidBase::*)(const ChoiceFacts &, int) const;

    double RateFoot(const ChoiceFacts &of, int id) const;
    double RateIncomingVelocity(const ChoiceFacts &of, int id) const;
    double RateIncomingBodyDirection(const ChoiceFacts &of, int id) const;
    double RateMovement(const ChoiceFacts &of, int id) const;
    double RateBodyDirection(const ChoiceFacts &of, int id) const;
    double RateTripDirection(const ChoiceFacts &of, int id) const;
    double RateBase(const ChoiceFacts &of, int id) const;
    double RateCatch(const ChoiceFacts &of, int id) const;
    double RateIdleLevel(const ChoiceFacts &of, int id) const;
    double RatePriority(const ChoiceFacts &of, int id) const;

    const ChoiceFacts *Facts() const; // of all animations, by index
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

bool InOrder(const std::vector<RatedAnim> &rated) {
  for (size_t i = 1; i < rated.size(); i++) {
    if (!(rated[i - 1].rating <= rated[i].rating)) return false; // so of numbers only
  }
  return true;
}

void SortStably(std::vector<RatedAnim> &rated) {
  if (!InOrder(rated)) std::stable_sort(rated.begin(), rated.end());
}

}  // namespace

const ChoiceFacts *HumanoidBase::Facts() const {
  std::vector<ChoiceFacts> &table = anims->choiceFacts;
  const std::vector<Animation *> &all = anims->GetAnimations();
  if (table.size() != all.size()) {
    table.clear();
    for (const Animation *anim : all) {
      const VariableCache &variables = anim->GetVariableCache();
      const std::string trip = anim->GetVariable("bumpdirection");
      ChoiceFacts of;
      of.direction = ForceIntoPreferredDirectionVec(anim->GetOutgoingDirection());
      of.movement = of.direction * RangeVelocity(anim->GetOutgoingVelocity());
      of.sameMovement = 0;
      for (const ChoiceFacts &other : table) {
        if (!memcmp(&other.direction, &of.direction, sizeof(Vector3)) &&
            !memcmp(&other.movement, &of.movement, sizeof(Vector3))) {
          of.sameMovement = other.sameMovement;
          break;
        }
        of.sameMovement = std::max(of.sameMovement, other.sameMovement + 1);
      }
      of.bodyIn = ForceIntoAllowedBodyDirectionVec(anim->GetIncomingBodyDirection());
      of.trip = trip.empty() ? Vector3(0) : GetVectorFromString(trip);
      of.gaze = ForceIntoAllowedBodyDirectionAngle(anim->GetOutgoingBodyAngle()) +
                ForceIntoPreferredDirectionAngle(anim->GetOutgoingAngle());
      of.translation = anim->GetTranslation();
      of.directionOut = anim->GetOutgoingDirection();
      of.bodyOut = anim->GetOutgoingBodyDirection();
      of.bodyPenalty = fabs(anim->GetOutgoingBodyAngle()) * 0.05f;
      of.sameOut = 0;
      while (of.sameOut < int(table.size()) &&
             (memcmp(&table[of.sameOut].directionOut, &of.directionOut, sizeof(Vector3)) != 0 ||
              memcmp(&table[of.sameOut].bodyOut, &of.bodyOut, sizeof(Vector3)) != 0)) {
        of.sameOut++;
      }
      of.idleLevel = variables.idlelevel();
      of.priority = fabs(atof(anim->GetVariable("priority").c_str()));
      of.quadrant = variables.quadrant_id();
      of.velocityIn = GetVelocityID(FloatToEnumVelocity(anim->GetIncomingVelocity()));
      of.velocityOut = GetVelocityID(FloatToEnumVelocity(anim->GetOutgoingVelocity()));
      of.foot = anim->GetCurrentFoot();
      of.startsIdle = FloatToEnumVelocity(anim->GetIncomingVelocity()) == e_Velocity_Idle;
      of.base = variables.baseanim();
      of.lastDitch = variables.lastditch();
      of.catches = !anim->GetVariable("outgoing_retain_state").empty();
      table.push_back(of);
    }
  }
  return table.data();
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

double HumanoidBase::RateFoot(const ChoiceFacts &of, int) const {
  return of.foot == predicate_DesiredFoot || of.startsIdle ? 0 : 1;
}

double HumanoidBase::RateIncomingVelocity(const ChoiceFacts &of, int) const {
  // Steps of speed that the start is off, and half a step more if it is a detour.
  const int now = GetVelocityID(predicate_IncomingVelocity);
  float rating = fabs(clamp(of.velocityIn - now, -3, 3));
  if (of.velocityIn > std::max(now, of.velocityOut)) rating += 0.5f;
  if (of.velocityIn < std::min(now, of.velocityOut)) rating += 0.5f;
  return rating;
}

double HumanoidBase::RateIncomingBodyDirection(const ChoiceFacts &of, int) const {
  if (of.startsIdle) return 0;
  float rating = fabs(of.bodyIn.GetAngle2D(ForceIntoAllowedBodyDirectionVec(predicate_RelIncomingBodyDirection))) / pi;
  return rating;
}

double HumanoidBase::RateMovement(const ChoiceFacts &of, int) const {
  const Vector3 desired =
      predicate_RelDesiredDirection * EnumToFloatVelocity(predicate_DesiredVelocity) * (1.0f - predicate_CorneringBias);
  float rating = (desired - of.movement).GetLength();
  rating -= fabs(predicate_RelDesiredDirection.GetDotProduct(of.direction)) * 4.0f;
  return rating;
}

double HumanoidBase::RateBodyDirection(const ChoiceFacts &, int id) const {
  return DirectionSimilarityRating(id);
}

double HumanoidBase::RateTripDirection(const ChoiceFacts &of, int) const {
  float rating = -of.trip.GetDotProduct(predicate_RelDesiredTripDirection);
  return rating;
}

double HumanoidBase::RateBase(const ChoiceFacts &of, int) const {
  return of.base ? 0 : 1;
}

double HumanoidBase::RateCatch(const ChoiceFacts &of, int) const {
  return of.catches ? 0 : 1;
}

double HumanoidBase::RateIdleLevel(const ChoiceFacts &of, int) const {
  return fabs(of.idleLevel - predicate_idle);
}

double HumanoidBase::RatePriority(const ChoiceFacts &of, int) const {
  return of.priority;
}

void HumanoidBase::SortRated(DataSet::iterator first, DataSet::iterator last, Rating rating) const {
  if (last - first < 2) return;
  const ChoiceFacts *facts = Facts();
  std::vector<RatedAnim> rated;
  rated.reserve(last - first);
  for (auto id = first; id != last; ++id) rated.push_back({(this->*rating)(facts[*id], *id), *id});
  if (InOrder(rated)) return;
  std::stable_sort(rated.begin(), rated.end());
  for (const RatedAnim &anim : rated) *first++ = anim.id;
}

// Sorts by `rate`, base animations before others if `preferBase`, and keeps the best and those that `keep`, called with
// the facts of one and of the best, lets through. (It lets the best through.)
template <class Rate, class Keep>
void HumanoidBase::KeepLikeBest(DataSet &dataSet, Rate rate, bool preferBase, Keep keep) const {
  if (dataSet.size() < 2) return;
  const ChoiceFacts *facts = Facts();
  std::vector<RatedAnim> rated;
  rated.reserve(dataSet.size());
  bool numbers = true;
  for (int id : dataSet) {
    rated.push_back({rate(facts[id]), id});
    numbers &= rated.back().rating == rated.back().rating;
  }
  auto later = [=](const RatedAnim &anim) { return preferBase && !facts[anim.id].base; };
  auto before = [=](const RatedAnim &a, const RatedAnim &b) {
    return later(a) != later(b) ? later(b) : a.rating < b.rating;
  };
  if (!numbers) {
    std::stable_sort(rated.begin(), rated.end());
    std::stable_partition(rated.begin(), rated.end(), [=](const RatedAnim &anim) { return !later(anim); });
  }
  const RatedAnim best = numbers ? *std::min_element(rated.begin(), rated.end(), before) : rated.front();
  rated.erase(std::remove_if(rated.begin(), rated.end(),
                             [&](const RatedAnim &anim) {
                               return anim.id != best.id && !keep(facts[anim.id], facts[best.id]);
                             }),
              rated.end());
  if (numbers) {
    SortStably(rated);
    if (preferBase) {
      std::stable_partition(rated.begin(), rated.end(), [=](const RatedAnim &anim) { return !later(anim); });
    }
  }
  dataSet.clear();
  for (const RatedAnim &anim : rated) dataSet.push_back(anim.id);
}

void HumanoidBase::_KeepBestDirectionAnims(DataSet &dataSet, const PlayerCommand &command, bool strict,
                                           radian allowedAngle, int allowedVelocitySteps, int forcedQuadrantID) {
  assert(forcedQuadrantID == -1); // as in all calls
  const bool preferBase = strict && command.desiredFunctionType != e_FunctionType_Movement;
  constexpr int kMovements = 64; // of at most eleven directions and four speeds
  float ratings[kMovements];
  bool rated[kMovements] = {};
  auto rate = [&](const ChoiceFacts &of) -> double {
    const int movement = of.sameMovement;
    if (movement >= kMovements) return RateMovement(of, 0);
    if (!rated[movement]) ratings[movement] = RateMovement(of, 0), rated[movement] = true;
    return ratings[movement];
  };
  KeepLikeBest(dataSet, rate, preferBase, [&](const ChoiceFacts &of, const ChoiceFacts &best) {
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
  const bool preferBase = strict && command.desiredFunctionType != e_FunctionType_Movement;
  const float tolerance = strict ? radian(0.06f * pi) : allowedAngle;

  // As DirectionSimilarityRating; many animations share the directions at their ends, and so the body's then.
  const Vector3 toLookAt = (predicate_LookAt - spatialState.position).GetRotated2D(-spatialState.angle);
  const radian maxSmuggle = 0.1f * pi;
  std::vector<std::pair<int, Vector3>> predicted;
  auto predictedBody = [&](const ChoiceFacts &of) {
    for (const auto &known : predicted) {
      if (known.first == of.sameOut) return known.second;
    }
    const radian smuggle =
        clamp(predicate_RelDesiredDirection.GetAngle2D(of.directionOut), -maxSmuggle, maxSmuggle);
    const radian angle = of.directionOut.GetRotated2D(smuggle).GetAngle2D(Vector3(0, -1, 0));
    predicted.emplace_back(of.sameOut, of.bodyOut.GetRotated2D(angle));
    return predicted.back().second;
  };
  auto rate = [&](const ChoiceFacts &of) {
    const Vector3 desired = (toLookAt - of.translation).GetNormalized(Vector3(0, -1, 0));
    radian rating = fabs(predictedBody(of).GetAngle2D(desired));
    rating += of.bodyPenalty;
    return real(rating);
  };
  KeepLikeBest(dataSet, rate, preferBase,
               [&](const ChoiceFacts &of, const ChoiceFacts &best) { return fabs(of.gaze - best.gaze) <= tolerance; });
}

// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::GetIdleMovementAnimID std::stable_sort SortRated 5
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::GetIdleMovementAnimID boost::bind RatedBy 5
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::SelectAnim std::stable_sort SortRated 7
// @rename onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::SelectAnim boost::bind RatedBy 7
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectRetainAnim std::stable_sort SortRated
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectRetainAnim boost::bind RatedBy
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectAnim std::stable_sort SortRated 8
// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::SelectAnim boost::bind RatedBy 8
