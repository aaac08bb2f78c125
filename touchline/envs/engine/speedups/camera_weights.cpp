// Weights of the camera's past targets, 150 sines and powers a frame, come from a table.
//
// Exact: the camera follows an average of up to 150 earlier targets. A weight depends on nothing but the place of the target
// in the row and the length of the row, so the weights, and their sum, are computed once by the same expressions and
// then read. The rest of the camera runs as ever: it draws two numbers from the match's generator each frame.

// @replace onthepitch/match.cpp Match::UpdateIngameCamera

namespace {

// Weights of rows of every length up to `camPosSize`, made when the first camera moves and never changed again.
struct CameraWeights {
  float weights[camPosSize + 1][camPosSize];
  float sums[camPosSize + 1];

  CameraWeights() {
    for (unsigned int length = 1; length <= camPosSize; length++) {
      const float size = length;
      sums[length] = 0;
      for (int index = 0; index < (int)length; index++) {
        // Between the latest and the middle, and next to nothing of the very latest: no one holds a camera that fast.
        float weight = std::sin((index / size - 0.3f) * 1.4f * pi) * 0.5f + 0.5f;
        weight *= std::pow(1.0f - index / size, 0.3f);
        weights[length][index] = weight;
        sums[length] += weight;
      }
    }
  }
};

}  // namespace

void Match::UpdateIngameCamera() {
  static const CameraWeights table;

  float fov = 0.5f + _default_CameraFOV * 0.5f;
  float zoom = _default_CameraZoom;
  float height = _default_CameraHeight * 1.5f;

  // Between ball and possession player, and on in the directions of that player and of the team that attacks.
  const float playerBias = 0.6f;
  Player *focus = GetDesignatedPossessionPlayer();
  Vector3 target = ball->Predict(0) * (1.0f - playerBias) + focus->GetPosition() * playerBias;
  target += focus->GetDirectionVec() * 1.0f;
  target += Vector3(((teams[first_team]->GetFadingTeamPossessionAmount() - 1.0f) * -teams[first_team]->GetDynamicSide() +
                     (teams[second_team]->GetFadingTeamPossessionAmount() - 1.0f) * -teams[second_team]->GetDynamicSide()) *
                        4.0f,
                    0, 0);
  target.coords[2] *= 0.1f;

  const float maxW = pitchHalfW * 0.84f * (1.0 / (zoom + 0.01f));
  const float maxH = pitchHalfH * 0.60f * (1.0 / (zoom + 0.01f)) * (height * 0.75f + 0.25f);
  if (fabs(target.coords[0]) > maxW) target.coords[0] = maxW * signSide(target.coords[0]);
  if (fabs(target.coords[1]) > maxH) target.coords[1] = maxH * signSide(target.coords[1]);

  // Both draws are arguments of one call, as in the engine, so that they are made in the same order.
  Vector3 shudder = Vector3(boostrandom(-0.1f, 0.1f), boostrandom(-0.1f, 0.1f), 0) *
                    (ball->GetMovement().GetLength() * 0.8f + 6.0f);
  shudder *= 0.2f;
  camPos.push_back(target + shudder * ((float)camPos.size() / (float)camPosSize));
  if (camPos.size() > camPosSize) camPos.pop_front();

  Vector3 average;
  const float *weight = table.weights[camPos.size()];
  for (const Vector3 &earlier : camPos) average += earlier * *weight++;
  average /= table.sums[camPos.size()];

  if (IsGoalScored() && goalScoredTimer >= 1000) {
    // Around the scorer.
    Vector3 scorer = lastGoalScorer ? lastGoalScorer->GetPosition() : ball->Predict(0).Get2D();
    radian rot = (float)goalScoredTimer * 0.0005f;
    cameraOrientation.SetAngleAxis(0.45f * pi, Vector3(1, 0, 0));
    cameraNodeOrientation.SetAngleAxis(rot, Vector3(0, 0, 1));
    cameraNodePosition = scorer + Vector3(0, -1, 0).GetRotated2D(rot) * 15.0f + Vector3(0, 0, 3);
    cameraFOV = 35.0f;
    cameraNearCap = 1;
    cameraFarCap = 220;
    return;
  }

  radian angleFactor = 1.0f - _default_CameraAngleFactor * 0.4f;
  zoom = (0.6f + zoom * 1.0f) * (1.0f / fov);
  height = 4.0f + height * 10;
  const float tilt = average.coords[1] / 800.0f;
  cameraOrientation.SetAngleAxis(tilt + (0.42f - height * 0.01f) * pi, Vector3(1, 0, 0));
  cameraNodeOrientation.SetAngleAxis((-average.coords[0] / pitchHalfW) * (1.0f - angleFactor) * 0.25f * pi * 1.24f,
                                     Vector3(0, 0, 1));
  cameraNodePosition =
      average * Vector3(1.0f * (1.0f - _default_CameraAngleFactor * 0.2f) * (1.0f - _default_CameraZoom * 0.3f),
                        0.9f - _default_CameraZoom * 0.3f, 0.2f) +
      Vector3(0, -41.4f - (_default_CameraFOV * 3.7f) + std::pow(height, 1.2f) * 0.46f, 10.0f + height) * zoom;
  cameraFOV = (fov * 28.0f) - (cameraNodePosition.coords[1] / 30.0f);
  cameraNearCap = cameraNodePosition.coords[2];
  cameraFarCap = 200;
}
