// Who is nearest, how much space there is and where the offside line runs are found without lists on the heap.
//
//  - The nearest players are kept in order in a short row. Exact: a distance goes after those equal to it, as it did in
//    the sorted tree.
//  - Space: opponents who cannot come near the place in time are passed over by a bound on their real place. Exact: from
//    `safeDistance` on, an opponent adds 0 to a sum that is never negative. What is remembered of a player differs from
//    what is real by at most the image's limits, and rounding is far below the margin of 0.1 m.
//  - Offside: the second largest of the players' coordinates is kept in one pass. Exact: only coordinates above 0 count,
//    equal ones are the same number, and the sign is a factor of 1 or -1. The movement is left out when it is
//    multiplied by 0 seconds: that could turn a -0 into 0 only, and neither counts.

// @needs ball_flight

// @members onthepitch/AIsupport/mentalimage.hpp MentalImage
 public:
  // A player as the image has it, turned as the world is now; not yet moved to the present.
  PlayerImage Remembered(const PlayerImage &image) const { return Seen(image); }

// @replace onthepitch/team.cpp Team::GetActivePlayers
void Team::GetActivePlayers(std::vector<Player *> &activePlayers) {
  activePlayers.reserve(activePlayers.size() + players.size());
  for (Player *player : players) {
    if (player->IsActive()) activePlayers.push_back(player);
  }
}

// @replace onthepitch/AIsupport/AIfunctions.cpp AI_GetClosestPlayers
void AI_GetClosestPlayers(Team *team, const Vector3 &position, bool onlyAIControlled, std::vector<Player *> &result,
                          unsigned int playerCount, bool onlySelectable) {
  if (playerCount == 0) return;
  struct Near {
    float distance;
    Player *player;
  };
  constexpr unsigned int kFew = 16;
  Near few[kFew];
  std::vector<Near> many(playerCount > kFew ? playerCount : 0);
  Near *nearest = many.empty() ? few : many.data();
  unsigned int count = 0;
  for (Player *player : team->GetAllPlayers()) {
    if (!player->IsActive()) continue;
    if (onlyAIControlled && player->ExternalControllerActive()) continue;
    if (onlySelectable && !player->GetFormationEntry().controllable) continue;
    const float distance = (player->GetPosition() - position).GetLength();
    if (count == playerCount) {
      if (!(nearest[count - 1].distance > distance)) continue;
      count--;
    }
    unsigned int place = count++;
    for (; place > 0 && nearest[place - 1].distance > distance; place--) nearest[place] = nearest[place - 1];
    nearest[place] = {distance, player};
  }
  result.reserve(result.size() + count);
  for (unsigned int i = 0; i < count; i++) result.push_back(nearest[i].player);
}

// @replace onthepitch/AIsupport/AIfunctions.cpp AI_CalculateFreeSpace
float AI_CalculateFreeSpace(Match *match, const MentalImage *mentalImage, int teamID, const Vector3 &focusPos,
                            float safeDistance, float futureTime_sec) {
  const int opponents = abs(teamID - 1);
  const float reach = sprintVelocity * clamp(futureTime_sec - 0.2f, 0.0f, 1000.0f);
  const float closest = safeDistance + reach + mentalImage->maxDistanceDeviation + 0.1f;
  const int age_ms = mentalImage->GetTimeStampNeg_ms();
  float taken = 0.0f;
  for (const PlayerImage &remembered : mentalImage->players) {
    Player *player = remembered.player;
    if (remembered.role == e_PlayerRole_GK || player->GetTeamID() != opponents || !player->IsActive()) continue;
    const Vector3 realPosition = player->GetPosition();
    const Vector3 realMovement = player->GetMovement();
    const float speed = std::fabs(realMovement.coords[0]) + std::fabs(realMovement.coords[1]) +
                        std::fabs(realMovement.coords[2]) + mentalImage->maxMovementDeviation;
    const float bound = closest + 0.2f * speed;
    const float dx = focusPos.coords[0] - realPosition.coords[0];
    const float dy = focusPos.coords[1] - realPosition.coords[1];
    if (dx * dx + dy * dy > bound * bound) continue;

    const PlayerImage image = mentalImage->Remembered(remembered);
    Vector3 position = image.position + image.movement * age_ms * 0.001f;
    position = position.EnforceMaximumDeviation(realPosition, mentalImage->maxDistanceDeviation);
    const Vector3 movement = image.movement.EnforceMaximumDeviation(realMovement, mentalImage->maxMovementDeviation);
    position = position + movement * 0.2f;
    const Vector3 way = focusPos - position;
    Vector3 run = way.GetNormalized(0) * sprintVelocity * clamp(futureTime_sec - 0.2f, 0.0f, 1000.0f);
    if (run.GetLength() > way.GetLength()) run = way;
    position += run;
    taken += 1.0f - clamp((position - focusPos).GetLength(), 0, safeDistance) / safeDistance;
  }
  return 1.0f - NormalizedClamp(taken, 0.0f, 2.5f);
}

// @replace onthepitch/AIsupport/AIfunctions.cpp AI_GetOffsideLine
float AI_GetOffsideLine(Match *match, const MentalImage *mentalImage, int teamID, unsigned int futureSim_ms) {
  const int side = match->GetTeam(teamID)->GetDynamicSide();
  const int age_ms = mentalImage->GetTimeStampNeg_ms();
  bool any = false;
  float deepest = 0.0f;
  float second = 0.0f;
  for (const PlayerImage &remembered : mentalImage->players) {
    Player *player = remembered.player;
    if (player->GetTeamID() != teamID || !player->IsActive()) continue;
    const PlayerImage image = mentalImage->Remembered(remembered);
    const Vector3 position = image.position + image.movement * age_ms * 0.001f;
    float x = position.EnforceMaximumDeviation(player->GetPosition(), mentalImage->maxDistanceDeviation).coords[0];
    if (futureSim_ms != 0) {
      x += image.movement.EnforceMaximumDeviation(player->GetMovement(), mentalImage->maxMovementDeviation).coords[0] *
           futureSim_ms * 0.001f;
    }
    if (!any || x * side > deepest * side) {
      if (any && deepest * side > second * side) second = deepest;
      deepest = x;
      any = true;
    } else if (x * side > second * side) {
      second = x;
    }
  }

  float line = second;
  const float ball = mentalImage->GetBallPrediction(0).coords[0];
  if (ball * side > line * side) line = ball;
  if (line * side < 0) line = 0;
  return clamp(line, -pitchHalfW, pitchHalfW);
}

// @before onthepitch/player/controller/elizacontroller.cpp ElizaController::GetSupportPosition_ForceField
namespace {
struct RoomyForceField : std::vector<ForceSpot> {
  RoomyForceField() { reserve(24); }
};
}

// @rename onthepitch/player/controller/elizacontroller.cpp ElizaController::GetSupportPosition_ForceField std::vector<ForceSpot> RoomyForceField
