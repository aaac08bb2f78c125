// Animations that cannot reach the ball are told by a bound before the physics of their move are worked out.
//
// To choose a touch, the engine plays every candidate's move frame by frame, then asks whether the ball is near enough
// to where the animation has it, and takes the first candidate of which that is so. What came out for the others is
// read by nobody: of all results only "no animation" counts if none fits, and a slide's move is worked out again then.
// So leaving out a candidate is exact if none of its touches can fit, whatever its move:
// - In height, the touch is where the animation says, and the ball on the stretch of its path that is looked at.
// - On the ground, a move starts with the player's speed and changes it by at most 0.36 m/s a frame (a slide by 1.2),
//   air resistance only lessens a change, and only the last two frames, where such bounds are not applied, may jump.
//   With the ball D from the touch, the engine wants |D'| <= radius + 0.8 cheat + 0.02, where D' is D with its sideways
//   part stretched, so |D'| >= |D|, and each part of the radius has its own upper bound.
// Centimetres are added for rounding, which is some millionths; a comparison with a NaN leaves the candidate in.
// The table of touches is shared by engines with equal animations.

// @needs shared_animations

// @top onthepitch/player/humanoid/animcollection.hpp
#include <vector>

// A touch of the ball by an animation, and bounds of how near the ball has to be.
struct ReachableTouch {
  int frame;
  Vector3 fromBody; // on the ground, in the animation's directions
  float height;
  float bodyBonus;  // at most so much for a ball near the body
  float frameShare; // grows with the time until the touch
};

struct ReachTable {
  struct Entry {
    unsigned begin, end; // in `touches`
    short frames;
    bool base;
  };
  std::vector<Entry> animations; // by index
  std::vector<ReachableTouch> touches;
};

// @members onthepitch/player/humanoid/animcollection.hpp SharedAnimations
  MadeOnce<ReachTable> reach;

// @members onthepitch/player/humanoid/humanoid.hpp Humanoid

  protected:
    ReachTable MakeReachTable() const;
    DataSet AnimsInReach(const DataSet &dataSet, bool preferPassAndShot) const;
    signed int BestAnimInReach(const DataSet &sortedDataSet, bool useDesiredMovement, const Vector3 &desiredDirection,
                               float desiredVelocityFloat, bool useDesiredBodyDirection,
                               const Vector3 &desiredBodyDirectionRel, std::vector<Vector3> &positions_ret,
                               int &animTouchFrame_ret, float &radiusOffset_ret, Vector3 &touchPos_ret,
                               Vector3 &fullActionSmuggle_ret, Vector3 &actionSmuggle_ret, radian &rotationSmuggle_ret,
                               e_InterruptAnim localInterruptAnim, bool preferPassAndShot) const;

// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::GetBestCheatableAnimID Humanoid::GetBestCheatableAnimID Humanoid::BestAnimInReach

// @after onthepitch/player/humanoid/humanoid.cpp Humanoid::BestAnimInReach
ReachTable Humanoid::MakeReachTable() const {
  ReachTable table;
  for (Animation *anim : anims->GetAnimations()) {
    auto football = boost::static_pointer_cast<FootballAnimationExtension>(anim->GetExtension("football"));
    ReachTable::Entry entry;
    entry.begin = table.touches.size();
    for (int i = 0; i < football->GetTouchCount(); i++) {
      ReachableTouch touch;
      Vector3 ball, body;
      Quaternion rotation;
      football->GetTouch(i, ball, touch.frame);
      anim->GetKeyFrame(BodyPart::player, touch.frame, rotation, body);
      touch.fromBody = (ball - body).Get2D();
      touch.height = ball.coords[2];
      // The distance is measured from a point up to 10 cm in front of the body.
      touch.bodyBonus = 1.0f - curve(NormalizedClamp(touch.fromBody.GetLength() - 0.11f, 0.0f, 0.7f), 0.7f);
      touch.frameShare = std::pow(touch.frame / 24.0f, 0.7f);
      if (touch.frameShare > 1.0f) touch.frameShare = 1.0f + (touch.frameShare - 1.0f) * 0.5f;
      table.touches.push_back(touch);
    }
    entry.end = table.touches.size();
    entry.frames = anim->GetFrameCount();
    entry.base = anim->GetVariableCache().baseanim();
    table.animations.push_back(entry);
  }
  return table;
}

DataSet Humanoid::AnimsInReach(const DataSet &dataSet, bool preferPassAndShot) const {
  float radius = 0.3f, cheat = 0.0f, changePerFrame = 0.36f;
  const e_DefString type = anims->GetAnim(dataSet.front())->GetAnimType();
  switch (type) {
    case e_DefString_Deflect:
      radius *= 1.8f;
      cheat = 0.4f;
      break;
    case e_DefString_Sliding:
      radius *= 0.2f;
      changePerFrame = 1.2f;
      break;
    case e_DefString_Interfere:
      radius *= 1.4f;
      cheat = 0.2f;
      break;
    case e_DefString_ShortPass:
    case e_DefString_LongPass:
    case e_DefString_HighPass:
    case e_DefString_Shot:
      radius *= 1.3f;
      cheat = 0.15f;
      break;
    case e_DefString_Trap:
    case e_DefString_BallControl:
      if (preferPassAndShot) radius *= 0.3f;
      break;
    default:
      return dataSet;
  }

  const Vector3 movement = spatialState.movement.GetRotated2D(-spatialState.angle);
  const float sideways =
      0.6f - 0.3f * std::pow(NormalizedClamp(movement.GetLength(), idleVelocity, sprintVelocity), 0.7f);
  radius *= std::sqrt(1.0f / sideways);
  const float tallness = player->GetPlayerData()->GetHeight() / defaultPlayerHeight;

  // Where the ball can be, seen from the player, and by how much a recent touch lessens the reach, by frame.
  struct Moment {
    bool known = false;
    Vector3 ball;
    float stretch, lowest, highest, share;
  };
  constexpr int kMoments = 64;
  Moment moments[kMoments];
  auto at = [&](int frame) -> const Moment & {
    Moment &moment = moments[frame];
    if (moment.known) return moment;
    const MentalImage *image = match->GetMentalImage(mentalImageTime);
    const Vector3 now = image->GetBallPrediction(frame * 10);
    const Vector3 step = image->GetBallPrediction(frame * 10 + 10) - now;
    moment.known = true;
    moment.ball = (now - spatialState.position).GetRotated2D(-spatialState.angle).Get2D();
    moment.stretch = step.Get2D().GetLength() * 0.6f; // the path looked at is from 6 ms before to 3 ms after
    const float before = now.coords[2] - step.coords[2] * 0.6f, after = now.coords[2] + step.coords[2] * 0.3f;
    moment.lowest = std::min(before, after);
    moment.highest = std::max(before, after);
    moment.share = 1.0f;
    const float lastTouch = curve(player->GetLastTouchBias(600, match->GetActualTime_ms() + frame * 10), 1.0f);
    if (lastTouch > 0.0f) {
      moment.share = 1.0f - lastTouch * 0.97f * (1.0f - player->GetStat(technical_ballcontrol) * 0.1f);
    }
    return moment;
  };

  auto outOfReach = [&](const ReachableTouch &touch, bool base) {
    const Moment &moment = at(touch.frame);

    const float height = touch.height * tallness;
    float rise = std::max(moment.lowest - height, height - moment.highest) - 0.01f;
    rise *= 1.0f - clamp((height - 0.11f) * 0.3f, 0.0f, 0.2f);
    rise *= 1.0f - clamp((moment.highest - 0.11f) * 0.4f, 0.0f, 0.3f);
    if (type == e_DefString_Deflect) rise *= 0.8f;
    if (base && moment.lowest < 0.51f) rise -= 0.15f;
    if (rise > 0.23f) return true;

    const int frames = touch.frame + 1;
    const float wander = changePerFrame * 0.01f * (frames * (frames + 1) / 2);
    const Vector3 expected = movement * (frames * 0.01f) + touch.fromBody;
    const float distance = (moment.ball - expected).GetLength() - moment.stretch - wander;
    const float bonuses = 1.0f + touch.bodyBonus + 0.6f + 0.8f * touch.bodyBonus + 1.0f;
    const float reach = moment.share * (radius * touch.frameShare * bonuses + 0.8f * cheat) + 0.02f;
    return distance > reach * 1.01f + 0.05f;
  };

  const ReachTable &table = anims->Shared().reach.Get([this] { return MakeReachTable(); });
  DataSet inReach;
  for (int id : dataSet) {
    const ReachTable::Entry &entry = table.animations[id];
    for (unsigned i = entry.begin; i < entry.end; i++) {
      const ReachableTouch &touch = table.touches[i];
      const bool bounded = touch.frame >= 0 && touch.frame < std::min(kMoments, entry.frames - 2);
      if (!bounded || !outOfReach(touch, entry.base)) {
        inReach.push_back(id);
        break;
      }
    }
  }
  return inReach;
}

signed int Humanoid::GetBestCheatableAnimID(const DataSet &sortedDataSet, bool useDesiredMovement,
                                            const Vector3 &desiredDirection, float desiredVelocityFloat,
                                            bool useDesiredBodyDirection, const Vector3 &desiredBodyDirectionRel,
                                            std::vector<Vector3> &positions_ret, int &animTouchFrame_ret,
                                            float &radiusOffset_ret, Vector3 &touchPos_ret,
                                            Vector3 &fullActionSmuggle_ret, Vector3 &actionSmuggle_ret,
                                            radian &rotationSmuggle_ret, e_InterruptAnim localInterruptAnim,
                                            bool preferPassAndShot) const {
  // Whoever holds the ball reaches it.
  const DataSet inReach =
      match->GetBallRetainer() == 0 ? AnimsInReach(sortedDataSet, preferPassAndShot) : sortedDataSet;
  if (inReach.empty()) return -1;
  return BestAnimInReach(inReach, useDesiredMovement, desiredDirection, desiredVelocityFloat, useDesiredBodyDirection,
                         desiredBodyDirectionRel, positions_ret, animTouchFrame_ret, radiusOffset_ret, touchPos_ret,
                         fullActionSmuggle_ret, actionSmuggle_ret, rotationSmuggle_ret, localInterruptAnim,
                         preferPassAndShot);
}
