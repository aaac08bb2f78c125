// The pose of a player from a table, all joints at once.
//
// In every 10 ms frame each player's thirteen joints are interpolated between key frames, blended halfway to the next
// frame, turned, smoothed against the pose before and kept below a top speed. What depends on the animation alone is
// laid out once per animation (on first use); the rest runs over the joints as lanes, sixteen floats a component.
//
// Exact: every lane does upstream's float operations in upstream's order, and the table is filled by upstream's own
// functions. What is left out has no effect on the result:
//  - Slerp with bias 0. Its first weight is sin(acos(c)) / sqrt(1 - c*c) in double, which is 1 within a few 1e-16, so a
//    float times it rounds back to itself; the second weight is 0, so the other quaternion only decides the sign of
//    a zero.
//  - acos of the angle to the pose before. It serves a comparison with the top speed; a cosine that lies clear of the
//    limit's (by 1e-5, a thousand times the error of the float functions) decides it already.
//  - sin, acos and sqrt of the smoothing of the first eight frames come from polynomials in double with an error below
//    1e-13. A float whose rounding could depend on such an error is computed again with the library's functions.
//  - Normalisation divides by (1 + |q|^2) / 2 while |q|^2 lies between 0 and 2, as upstream's test works on integers.
//  - The joints' rotations are kept side by side in the player and written to the scattered nodes when these are read.
// Histories or animations with another set of joints than the usual go to upstream's function.

// @needs mirror
// @needs shared_animations

// @top utils/animation.hpp
template <class Table>
class MadeOnce;

// @members utils/animation.hpp Animation
    public:
      struct PoseTable;
      MadeOnce<PoseTable> *poses = nullptr;  // made from the key frames; HumanoidBase::ApplyPose sets it
      // Turns joints (rotations by body part) and root to their pose 10 ms later; returns false, with nothing done, if
      // the joints are not the usual ones.
      bool ApplyInPlay(Quaternion *joints, Node &root, int frame, bool smooth, float smoothFactor,
                       const Vector3 &basePos, radian baseRot, BiasedOffsets &offsets, MovementHistory &history,
                       bool noPos);
    private:
      PoseTable MakePoseTable() const;

// @members onthepitch/player/humanoid/animcollection.hpp SharedAnimations
  struct Poses {
    std::unique_ptr<MadeOnce<Animation::PoseTable>[]> of;  // by number of the animation
  };
  MadeOnce<Poses> poses;

// @members onthepitch/player/humanoid/animcollection.hpp AnimCollection
  public:
    void SetPoses() {
      const SharedAnimations::Poses &poses = Shared().poses.Get([this] {
        return SharedAnimations::Poses{
            std::unique_ptr<MadeOnce<Animation::PoseTable>[]>(new MadeOnce<Animation::PoseTable>[animations.size()])};
      });
      for (size_t i = 0; i < animations.size(); i++) animations[i]->poses = &poses.of[i];
    }

// @members types/spatial.hpp Spatial
    public:
      // Own position and rotation as they stand, for code that updates what is derived from them itself.
      Vector3 &OwnPosition() { return position; }
      Quaternion &OwnRotation() { return rotation; }

// @members onthepitch/player/humanoid/humanoidbase.hpp HumanoidBase
  private:
    Quaternion joint_rotation_[body_part_max];
    bool joints_known_ = false;  // they are those of the nodes, or newer
    bool joints_ahead_ = false;  // they are newer

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::StorePose
void HumanoidBase::StorePose() {
  if (!joints_ahead_) return;
  for (int part = 0; part < BodyPart::player; part++) nodeMap[part]->OwnRotation() = joint_rotation_[part];
  joints_ahead_ = false;
}

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::ForgetPose
void HumanoidBase::ForgetPose() { joints_known_ = false; }

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::ApplyPose
void HumanoidBase::ApplyPose() {
  const AnimApplyBuffer &b = animApplyBuffer;
  if (!joints_known_) {
    for (int part = 0; part < BodyPart::player; part++) joint_rotation_[part] = nodeMap[part]->OwnRotation();
    joints_known_ = true;
  }
  if (!b.anim->poses) anims->SetPoses();
  if (b.anim->ApplyInPlay(joint_rotation_, *humanoidNode, b.frameNum, b.smooth, b.smoothFactor, b.position,
                          b.orientation, animApplyBuffer.offsets, movementHistory, b.noPos)) {
    joints_ahead_ = true;
    return;
  }
  StorePose();
  ForgetPose();
  b.anim->Apply(nodeMap, b.frameNum, -1, b.smooth, b.smoothFactor, b.position, b.orientation, animApplyBuffer.offsets,
                &movementHistory, 10, b.noPos, false);
}

// @top utils/animation.cpp
#include <cstring>

#include "../onthepitch/player/humanoid/animcollection.hpp"

// @after utils/animation.cpp Animation::Apply
namespace {

constexpr int kLanes = 16;
constexpr int kSmoothedFrames = 8;

struct Lanes {  // quaternions, one a lane
  float x[kLanes], y[kLanes], z[kLanes], w[kLanes];

  Quaternion get(int i) const { return Quaternion(x[i], y[i], z[i], w[i]); }
  void set(int i, const Quaternion &q) {
    x[i] = q.elements[0];
    y[i] = q.elements[1];
    z[i] = q.elements[2];
    w[i] = q.elements[3];
  }
};

// Quaternion::GetDotProduct, MakeSameNeighborhood: `a` changes its sign where it points away from `b`.
inline void same_neighborhood(Lanes &a, const Lanes &b, float *dot) {
  for (int i = 0; i < kLanes; i++) {
    const float d = a.x[i] * b.x[i] + a.y[i] * b.y[i] + a.z[i] * b.z[i] + a.w[i] * b.w[i];
    const float sign = d < 0 ? -1.0f : 1.0f;
    dot[i] = d * sign;
    a.x[i] *= sign;
    a.y[i] *= sign;
    a.z[i] *= sign;
    a.w[i] *= sign;
  }
}

// Quaternion::Normalize
inline void normalize(Lanes &a) {
  float factor[kLanes];
  int odd = 0;
  for (int i = 0; i < kLanes; i++) {
    const float magnitude = a.x[i] * a.x[i] + a.y[i] * a.y[i] + a.z[i] * a.z[i] + a.w[i] * a.w[i];
    const double squared = magnitude;
    factor[i] = float(2.0 / (1.0 + squared));
    odd |= !(magnitude >= 0.001f && magnitude < 1.999f);
  }
  if (odd) {
    for (int i = 0; i < kLanes; i++) a.set(i, a.get(i).GetNormalized());
    return;
  }
  for (int i = 0; i < kLanes; i++) {
    a.x[i] *= factor[i];
    a.y[i] *= factor[i];
    a.z[i] *= factor[i];
    a.w[i] *= factor[i];
  }
}

// Upstream adds the fourth component first here.
inline void slerp_cosine(const Lanes &a, const Lanes &b, float *cosine, float *sign) {
  for (int i = 0; i < kLanes; i++) {
    const float c = a.w[i] * b.w[i] + a.x[i] * b.x[i] + a.y[i] * b.y[i] + a.z[i] * b.z[i];
    sign[i] = c < 0 ? -1.0f : 1.0f;
    cosine[i] = c * sign[i];
  }
}

inline void slerp_without_bias(Lanes &a, const Lanes &b) {
  float cosine[kLanes], sign[kLanes];
  slerp_cosine(a, b, cosine, sign);
  for (int i = 0; i < kLanes; i++) {
    const float weight = 0.0f * sign[i];
    const bool equal = cosine[i] >= 1.0f;
    a.x[i] = equal ? a.x[i] : a.x[i] + b.x[i] * weight;
    a.y[i] = equal ? a.y[i] : a.y[i] + b.y[i] * weight;
    a.z[i] = equal ? a.z[i] : a.z[i] + b.z[i] * weight;
    a.w[i] = equal ? a.w[i] : a.w[i] + b.w[i] * weight;
  }
}

// sin(x) for 0 <= x <= pi/2 within 1e-15: its Taylor series to x^21.
inline double series_sine(double x) {
  const double s = x * x;
  double r = 1.0 / 51090942171709440000.0;
  r = r * s - 1.0 / 121645100408832000.0;
  r = r * s + 1.0 / 355687428096000.0;
  r = r * s - 1.0 / 1307674368000.0;
  r = r * s + 1.0 / 6227020800.0;
  r = r * s - 1.0 / 39916800.0;
  r = r * s + 1.0 / 362880.0;
  r = r * s - 1.0 / 5040.0;
  r = r * s + 1.0 / 120.0;
  r = r * s - 1.0 / 6.0;
  return x + x * s * r;
}

// acos(c) for 0 <= c < 1 with sine = sqrt(1 - c*c), within 1e-14 relative: an estimate (Abramowitz and Stegun 4.4.45,
// error 7e-5, https://personal.math.ubc.ca/~cbm/aands/page_81.htm), twice corrected by the angle that is left, whose
// sine is small.
inline double series_arccosine(double c, double sine) {
  double angle = std::sqrt(1.0 - c) * (1.5707288 + c * (-0.2121144 + c * (0.0742610 - 0.0187293 * c)));
  const double own_sine = series_sine(angle), half = series_sine(0.5 * angle);
  const double own_cosine = 1.0 - 2.0 * half * half;
  const double rest = sine * own_cosine - c * own_sine;
  return angle + rest * (1.0 + rest * rest * (1.0 / 6.0));
}

void slerp(Lanes &a, float bias, const Lanes &b) {
  constexpr double kError = 1e-12;  // of a sum of the two terms, relative to their sizes; ten times what it can be
  float cosine[kLanes], sign[kLanes];
  slerp_cosine(a, b, cosine, sign);
  double first[kLanes], second[kLanes];
  const double rest = 1 - bias;
  for (int i = 0; i < kLanes; i++) {
    const double c = cosine[i] < 1.0f ? cosine[i] : 0.5;
    const double sine = std::sqrt(1.0 - c * c);
    const double angle = series_arccosine(c, sine);
    first[i] = series_sine(rest * angle) / sine;
    second[i] = series_sine(bias * angle) / sine;
  }
  Lanes result;
  int doubtful[kLanes];
  for (int i = 0; i < kLanes; i++) doubtful[i] = 0;
  const float *from[4] = {a.x, a.y, a.z, a.w}, *to[4] = {b.x, b.y, b.z, b.w};
  float *out[4] = {result.x, result.y, result.z, result.w};
  for (int k = 0; k < 4; k++) {
    for (int i = 0; i < kLanes; i++) {
      const double p = from[k][i] * first[i], q = to[k][i] * sign[i] * second[i];
      const double error = (std::fabs(p) + std::fabs(q)) * kError;
      const float low = float(p + q - error), high = float(p + q + error);
      doubtful[i] |= !(low == high) | (p + q == 0);
      out[k][i] = low;
    }
  }
  for (int i = 0; i < kLanes; i++) {
    if (cosine[i] >= 1.0f) result.set(i, a.get(i));
    else if (doubtful[i]) result.set(i, a.get(i).GetSlerped(bias, b.get(i)));
  }
  a = result;
}

// Quaternion::Normalize, of one.
inline Quaternion normalized(const Quaternion &q) {
  const float *e = q.elements;
  const float magnitude = e[0] * e[0] + e[1] * e[1] + e[2] * e[2] + e[3] * e[3];
  if (!(magnitude >= 0.001f && magnitude < 1.999f)) return q.GetNormalized();
  const float factor = float(2.0 / (1.0 + double(magnitude)));
  return Quaternion(e[0] * factor, e[1] * factor, e[2] * factor, e[3] * factor);
}

// Quaternion::operator*
inline Quaternion times(const Quaternion &q, const Quaternion &r) {
  const float *a = q.elements, *b = r.elements;
  return Quaternion(a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1],
                    a[3] * b[1] + a[1] * b[3] + a[2] * b[0] - a[0] * b[2],
                    a[3] * b[2] + a[2] * b[3] + a[0] * b[1] - a[1] * b[0],
                    a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2]);
}

// How much of the pose before stays, and how fast the joints may turn, in frame 0 to 8 of an animation.
struct Smoothing {
  float begin_bias[kSmoothedFrames + 1];
  float top_speed[kSmoothedFrames + 1][body_part_max];    // rad/s
  float safe_cosine[kSmoothedFrames + 1][body_part_max];  // of half the angle of a frame, clear of the top speed

  Smoothing() {
    for (int frame = 0; frame <= kSmoothedFrames; frame++) {
      begin_bias[frame] =
          std::pow(curve(1.0f - NormalizedClamp(frame, 0, kSmoothedFrames), 1.0f), 0.5f);
      for (int part = 0; part < body_part_max; part++) {
        float speed = 7.5f * pi;
        if (part == left_elbow || part == right_elbow || part == left_knee || part == right_knee) speed *= 1.2f;
        if (part == left_ankle || part == right_ankle) speed *= 1.6f;
        top_speed[frame][part] = (0.3f + 0.7f * (1.0f - begin_bias[frame])) * speed;
        safe_cosine[frame][part] = float(std::cos(top_speed[frame][part] * 0.01 / 2) + 1e-5);
      }
    }
  }
};

const Smoothing &smoothing() {
  static const Smoothing table;
  return table;
}

}  // namespace

struct Animation::PoseTable {
  bool usual = false;  // a root and thirteen joints, each once
  int frames = 0;
  int joints = 0;
  int part[kLanes] = {};      // body part of a lane
  std::vector<Lanes> pose;    // [frames], halfway to the next frame
  std::vector<Vector3> root;  // [frames]
};

Animation::PoseTable Animation::MakePoseTable() const {
  PoseTable table;
  const int nodes = nodeAnimations.size();
  bool seen[body_part_max] = {};
  table.usual = nodes > 0 && nodes - 1 <= kLanes && nodeAnimations[0]->nodeName == player;
  for (int n = 0; n < nodes && table.usual; n++) {
    const int part = nodeAnimations[n]->nodeName;
    table.usual = part < body_part_max && !seen[part];
    if (table.usual) seen[part] = true;
  }
  if (!table.usual) return table;
  table.frames = frameCount;
  table.joints = nodes - 1;
  table.pose.resize(frameCount);
  table.root.resize(frameCount);
  for (int n = 1; n < nodes; n++) table.part[n - 1] = nodeAnimations[n]->nodeName;
  constexpr float halfway = 0.5f;
  for (int frame = 0; frame < frameCount; frame++) {
    for (int lane = 0; lane < kLanes; lane++) table.pose[frame].set(lane, Quaternion());
    for (int n = 0; n < nodes; n++) {
      Quaternion orientation, next_orientation;
      Vector3 position, next_position;
      GetInterpolatedValues(nodeAnimations[n]->animation, frame, orientation, position);
      GetInterpolatedValues(nodeAnimations[n]->animation, frame + 1, next_orientation, next_position);
      if (n == 0) {
        table.root[frame] = position * (1.0f - halfway) + next_position * halfway;
      } else {
        orientation.MakeSameNeighborhood(next_orientation);
        table.pose[frame].set(n - 1, orientation.GetLerped(halfway, next_orientation).GetNormalized());
      }
    }
  }
  return table;
}

bool Animation::ApplyInPlay(Quaternion *joint, Node &root, int frame, bool smooth, float smoothFactor,
                            const Vector3 &basePos, radian baseRot, BiasedOffsets &offsets, MovementHistory &history,
                            bool noPos) {
  const PoseTable &table = poses->Get([this] { return MakePoseTable(); });
  if (!table.usual || frame < 0 || frame >= table.frames) return false;
  const int joints = table.joints;
  MovementHistoryEntry *entry[kLanes];
  MovementHistoryEntry *root_entry = nullptr;
  if (smooth) {
    MovementHistoryEntry *of_part[body_part_max] = {};
    for (auto &e : history) of_part[e.nodeName] = &e;
    root_entry = of_part[player];
    if (!root_entry) return false;
    for (int i = 0; i < joints; i++) {
      entry[i] = of_part[table.part[i]];
      if (!entry[i]) return false;
    }
  }

  Lanes pose = table.pose[frame];
  if (frame + 1 < table.frames) {  // soon to be wanted
    for (size_t at = 0; at < sizeof(Lanes); at += 64)
      __builtin_prefetch(reinterpret_cast<const char *>(&table.pose[frame + 1]) + at);
  }
  Lanes now;  // the nodes as they are
  for (int i = 0; i < joints; i++) {
    const int part = table.part[i];
    now.set(i, joint[part]);
    if (part == body) {
      Quaternion turn;
      turn.SetAngleAxis(baseRot, Vector3(0, 0, 1));
      pose.set(i, normalized(times(turn, pose.get(i))));
    }
    BiasedOffset &offset = offsets[BodyPart(part)];
    if (offset.bias != 0.0f) {
      offset.orientation.MakeSameNeighborhood(pose.get(i));
      const Quaternion desired = pose.get(i);
      const float *from = desired.elements, *to = offset.orientation.elements, rest = 1 - offset.bias;
      const float bias = offset.bias;
      const Quaternion mixed(from[0] * rest + to[0] * bias, from[1] * rest + to[1] * bias,
                             from[2] * rest + to[2] * bias, from[3] * rest + to[3] * bias);
      pose.set(i, normalized(normalized(mixed)));
    }
  }
  for (int i = joints; i < kLanes; i++) now.set(i, Quaternion());

  float dot[kLanes];
  const Smoothing &s = smoothing();
  const int smoothed = frame < kSmoothedFrames ? frame : kSmoothedFrames;
  const float begin_bias = s.begin_bias[smoothed];
  const float current_bias = begin_bias * smoothFactor * 0.5f;
  if (smooth) {
    Lanes before, current = now;
    for (int i = 0; i < joints; i++) before.set(i, entry[i]->orientation);
    for (int i = joints; i < kLanes; i++) before.set(i, Quaternion());
    same_neighborhood(current, before, dot);
    if (current_bias == 0) slerp_without_bias(pose, current);
    else slerp(pose, current_bias, current);
    normalize(pose);
    same_neighborhood(pose, current, dot);
    for (int i = 0; i < joints; i++) {
      const int part = table.part[i];
      entry[i]->orientation = current.get(i);
      entry[i]->timeDiff_ms = 10;
      if (dot[i] >= s.safe_cosine[smoothed][part]) continue;
      const float speed = 2.0f * std::acos(clamp(dot[i], -1.0f, 1.0f)) / (10.0f * 0.001f);
      if (!(speed > s.top_speed[smoothed][part])) continue;
      const Quaternion from = current.get(i);
      const Quaternion wanted = normalized(times(pose.get(i), from.GetInverse()));
      const Quaternion allowed = wanted.GetRotationMultipliedBy(s.top_speed[smoothed][part] / speed);
      pose.set(i, normalized(times(allowed, from)));
    }
  }
  same_neighborhood(pose, now, dot);
  for (int i = 0; i < joints; i++) joint[table.part[i]] = pose.get(i);

  Vector3 position = table.root[frame];
  if (noPos) {
    position.coords[0] = 0;
    position.coords[1] = 0;
  } else {
    position.Rotate2D(baseRot);
  }
  if (smooth) {
    const Vector3 current = root.OwnPosition();
    if (begin_bias > 0.01f) {
      const float z = position.coords[2] * (1.0f - current_bias) + current.coords[2] * current_bias;
      const float top_speed = GetVariableCache().outgoing_special_state().empty() ? 2.8f : 6.0f;  // m/s
      const float allowed = top_speed * (10.0f * 0.001f);
      const float wanted_z = z + basePos.coords[2];
      const float distance = std::fabs(wanted_z - current.coords[2]);
      const float bias = distance > allowed ? allowed / distance : 1.0f;
      const float new_z = (wanted_z * bias + current.coords[2] * (1.0f - bias)) * begin_bias +
                          wanted_z * (1.0f - begin_bias);
      position = position.Get2D() + Vector3(0, 0, new_z);
    }
    root_entry->position = current;
    root_entry->timeDiff_ms = 10;
  }
  root.OwnPosition() = position + basePos;
  return true;
}
