// Of 231 pairs of players, those who are far apart are passed over before anything about them is computed.
//
// Exact: a pair does something to each other only within two metres (shove 0.72, drag along 1.87, tackle 2.0). Pairs whose
// squared distance on the ground is above 4.5 square metres are farther apart than that by more than any rounding, and
// a height would only add to the distance; for the others the engine's own function runs, in the order it always did.
// It moves players, so places are read again after each such pair.

// @replace onthepitch/match.cpp Match::CheckHumanoidCollisions

void Match::CheckHumanoidCollisions() {
  std::vector<Player *> players;
  GetTeam(first_team)->GetActivePlayers(players);
  GetTeam(second_team)->GetActivePlayers(players);
  const std::size_t count = players.size();
  std::vector<float> x(count), y(count);
  auto readPlaces = [&] {
    for (std::size_t i = 0; i < count; i++) {
      const Vector3 place = players[i]->GetPosition();
      x[i] = place.coords[0];
      y[i] = place.coords[1];
    }
  };
  readPlaces();
  std::vector<std::vector<PlayerBounce>> bounces(count);
  for (std::size_t one = 0; one < count; one++) {
    int near = 0;
    for (std::size_t other = one + 1; other < count; other++) {
      const float dx = x[one] - x[other];
      const float dy = y[one] - y[other];
      near += !(dx * dx + dy * dy > 4.5f);
    }
    if (near == 0) continue;
    for (std::size_t other = one + 1; other < count; other++) {
      const float dx = x[one] - x[other];
      const float dy = y[one] - y[other];
      if (dx * dx + dy * dy > 4.5f) continue;
      CheckHumanoidCollision(players[one], players[other], bounces[one], bounces[other]);
      readPlaces();
    }
  }

  // Everyone is dragged along by those who are near, by force, normalised.
  for (std::size_t i = 0; i < count; i++) {
    float totalForce = 0.0f;
    for (const PlayerBounce &bounce : bounces[i]) totalForce += bounce.force;
    if (totalForce > 0.0f) {
      Vector3 drag;
      for (const PlayerBounce &bounce : bounces[i]) {
        drag += (bounce.opp->GetMovement() - players[i]->GetMovement()) * bounce.force * (bounce.force / totalForce);
      }
      players[i]->OffsetPosition(drag * 0.01f);
    }
  }
}
