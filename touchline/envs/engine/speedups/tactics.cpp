// A team's tactics are read by number, not by name.
//
// Exact: fourteen tactical numbers live as texts under names; every time a player looks for his place in the formation (twice,
// most of the time he decides anything) all are looked up, parsed and adapted to his role. They change once a second
// of play, at goals and when a state is loaded. Here they are parsed and adapted, by the engine's own functions, when
// they are first asked for after such a change, and kept by role. All else of the place in the formation is computed by
// the engine's expressions; what they multiply by one or switch off for good is left out where that changes no bit.

// @members onthepitch/teamAIcontroller.hpp TeamAIController

  private:
    struct Factors {
      float depth, width, ownHalf, midfieldFocus, midfieldFocusStrength, sideFocusStrength, microFocusStrength;
    };
    struct RoleTactics {
      Factors offense, defense;
    };
    RoleTactics roleTactics[e_PlayerRole_CF + 1];
    bool roleTacticsKnown = false;

    const RoleTactics &TacticsOf(e_PlayerRole role);
    Properties &ChangeLiveTactics() {
      roleTacticsKnown = false;
      return liveTeamTactics;
    }

// @rename onthepitch/teamAIcontroller.cpp TeamAIController::UpdateTactics liveTeamTactics ChangeLiveTactics() 2

// @rename onthepitch/teamAIcontroller.cpp TeamAIController::ProcessState liveTeamTactics ChangeLiveTactics()

// @replace onthepitch/teamAIcontroller.cpp TeamAIController::GetAdaptedFormationPosition

const TeamAIController::RoleTactics &TeamAIController::TacticsOf(e_PlayerRole role) {
  if (!roleTacticsKnown) {
    for (int i = e_PlayerRole_GK; i <= e_PlayerRole_CF; i++) {
      auto read = [&](const std::string &name) { return mixup(liveTeamTactics.GetReal(name), name, e_PlayerRole(i)); };
      auto readAll = [&](const std::string &start) {
        Factors factors;
        factors.depth = read(start + "depth_factor");
        factors.width = read(start + "width_factor");
        factors.ownHalf = read(start + "ownhalf_factor");
        factors.midfieldFocus = read(start + "midfieldfocus");
        factors.midfieldFocusStrength = read(start + "midfieldfocus_strength");
        factors.sideFocusStrength = read(start + "sidefocus_strength");
        factors.microFocusStrength = read(start + "microfocus_strength");
        return factors;
      };
      roleTactics[i].offense = readAll("position_offense_");
      roleTactics[i].defense = readAll("position_defense_");
    }
    roleTacticsKnown = true;
  }
  return roleTactics[role];
}

Vector3 TeamAIController::GetAdaptedFormationPosition(Player *player, bool useDynamicFormationPosition) {
  const e_PlayerRole role =
      useDynamicFormationPosition ? player->GetDynamicFormationEntry().role : player->GetFormationEntry().role;
  const Factors &offense = TacticsOf(role).offense;
  const Factors &defense = TacticsOf(role).defense;
  const float mindSet = AI_GetMindSet(role);
  const int side = team->GetDynamicSide();
  Ball *ball = match->GetBall();

  Vector3 focalPoint = match->GetDesignatedPossessionPlayer()->GetPosition();
  const float urgencyBias = 1.0f - NormalizedClamp((focalPoint - player->GetPosition()).GetLength(), 2.0f, 30.0f);
  const float ballX = ball->GetAveragePosition(3500 * (1.0f - urgencyBias * 0.7f)).coords[0];
  const float ballY = ball->GetAveragePosition(4000 * (1.0f - urgencyBias * 0.5f)).coords[1];

  float offenseSideFocus = offense.sideFocusStrength;
  float defenseSideFocus = defense.sideFocusStrength;
  offenseSideFocus += (-0.5 + mindSet) * 0.2f;
  defenseSideFocus += (0.5 - mindSet) * 0.2f;
  offenseSideFocus = clamp(offenseSideFocus + -0.3f + (offensivenessBias) * 0.3f, 0.0f, 1.0f);
  defenseSideFocus = clamp(defenseSideFocus + -0.3f + (1.0f - offensivenessBias) * 0.3f, 0.0f, 1.0f);

  // Who has the ball; where that is unclear, where it is tells more.
  const float possessionAmountBias = NormalizedClamp(fadingTeamPossessionAmount - 0.5f, 0.3f, 0.7f);
  const float ballBias = NormalizedClamp(((ballX / pitchHalfW) * -side), -0.7f, 0.7f);
  float ballBiasBias = 1.0f - fabs(possessionAmountBias * 2.0f - 1.0f);
  ballBiasBias *= 0.6f;
  float possessionBias = possessionAmountBias * (1.0f - ballBiasBias) + ballBias * ballBiasBias;
  possessionBias = clamp(possessionBias + (offensivenessBias - 0.5f) * 0.3f, 0.0f, 1.0f);
  auto blend = [possessionBias](float offense, float defense) {
    return offense * possessionBias + defense * (1.0f - possessionBias);
  };

  // The sum with nothing stays: it makes a zero of -0.
  focalPoint = (ball->GetAveragePosition(3000).Get2D() * 1.0f + focalPoint * 0.0f) * possessionBias +
               (ball->GetAveragePosition(2000).Get2D() * 0.5f + focalPoint * 0.5f) * (1.0f - possessionBias);

  const float adaptedDepth = depth * blend(offense.depth, defense.depth);
  const float adaptedWidth = width * blend(offense.width, defense.width);
  const float offsetX = pitchHalfW * side * blend(offense.ownHalf * 2.0f - 1.0f, defense.ownHalf * 2.0f - 1.0f);
  const float sideFocusStrength = blend(offenseSideFocus, defenseSideFocus);
  const float sideFocus = possessionBias * 2.0f - 1.0f;
  const float sideX = 0.2f * sideFocus * -side * pitchHalfW + 0.8f * -match->GetAveragePossessionSide(6000) * pitchHalfW;

  // The middle of the formation, moved inwards where its depth and width would not fit on the pitch.
  float centerX =
      clamp((ballX * (1.0f - sideFocusStrength) + sideX * sideFocusStrength) + offsetX, -pitchHalfW, pitchHalfW);
  float centerY = clamp(ballY, -pitchHalfH, pitchHalfH);
  const float fitDepth = 0.95f;
  const float fitWidth = 0.9f;
  centerX *= (1.0f - adaptedDepth) * fitDepth + (1.0f - fitDepth);
  centerY *= (1.0f - adaptedWidth) * fitWidth + (1.0f - fitWidth);
  float backXBound = centerX - adaptedDepth * pitchHalfW * -side;
  const float frontXBound = centerX + adaptedDepth * pitchHalfW * -side;
  const float lowYBound = centerY - adaptedWidth * pitchHalfH;
  const float highYBound = centerY + adaptedWidth * pitchHalfH;
  if (backXBound * side > GetOffsideTrapX() * side) backXBound = clamp(GetOffsideTrapX(), -pitchHalfW, pitchHalfW);

  const float yFocusStrength = blend(0.5f, 0.2f);

  // Towards the action: in front of it when defending, behind it when attacking.
  const Vector3 defensiveFocus(clamp(focalPoint.coords[0] + side * 2.0f, -pitchHalfW, backXBound * side),
                               focalPoint.coords[1] * 0.9f, 0);
  const Vector3 offensiveFocus(clamp(focalPoint.coords[0] - side * 1.0f, -pitchHalfW, pitchHalfW),
                               focalPoint.coords[1] * 0.9f, 0);
  const Vector3 microFocus = offensiveFocus * possessionBias + defensiveFocus * (1.0f - possessionBias);
  float microFocusStrength = blend(offense.microFocusStrength, defense.microFocusStrength);
  float ownHalfBias = NormalizedClamp((ballX / pitchHalfW) * -side, -0.7f, 0.7f);
  ownHalfBias = ownHalfBias * 0.7f + 0.3f;
  const float autoMicroFocus = blend(std::pow(ownHalfBias, 0.8f), std::pow(1.0f - ownHalfBias, 0.6f));
  microFocusStrength = microFocusStrength * (0.2f + 0.8f * autoMicroFocus);

  const float autoMidfieldFocus = NormalizedClamp((ballX / pitchHalfW) * -side, -0.8f, 0.8f);
  const float midfieldFocus = blend(offense.midfieldFocus, defense.midfieldFocus) * 0.7f + autoMidfieldFocus * 0.3f;
  const float midfieldFocusStrength = blend(offense.midfieldFocusStrength, defense.midfieldFocusStrength);

  Vector3 place = AI_GetAdaptedFormationPosition(
      team->GetMatch(), player, backXBound, frontXBound, lowYBound, highYBound, 0.0f, 0.0f, ballY, yFocusStrength,
      microFocus, microFocusStrength, midfieldFocus, midfieldFocusStrength, useDynamicFormationPosition);
  place.coords[0] = clamp(place.coords[0], -pitchHalfW, pitchHalfW);
  place.coords[1] = clamp(place.coords[1], -pitchHalfH, pitchHalfH);
  return place;
}
