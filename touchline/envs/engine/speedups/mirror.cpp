// Mirrored scene nodes are brought up to date where they are read.
//
// Both teams think in the left team's view, so a player is turned by 180 degrees and back again a dozen times in every
// 10 ms frame. Upstream turns the scene node of his body with him and invalidates what every limb and every mesh has
// derived from it, though next to nobody looks: ball collisions, tackles, a keeper holding the ball, pictures, states.
//
// Exact: turning a node only moves and negates four floats and negates two, which undoes itself to the last bit, so
// any number of turns comes to none or one (`node_mirrored_` against `mirrored`). Derived data is a pure function of
// the nodes' own; the invalidation is done, late, before anyone can read it. Reset players are the exception: upstream
// moves their root without invalidating it, so what was derived before decides what is read after; `ResetPosition`
// therefore catches up first, including what drawing has derived at the end of a step. Engines that render do
// everything at once, as upstream.

// @members onthepitch/player/humanoid/humanoidbase.hpp HumanoidBase
  public:
    // Brings position and rotation of the root node into the view that the player is in.
    void SyncRoot();
    // Also invalidates what has been derived from nodes that changed.
    void SyncNodes();
    const NodeMap &SyncedNodeMap() { SyncNodes(); return nodeMap; }
    boost::intrusive_ptr<Node> SyncedHumanoidNode() { SyncNodes(); return humanoidNode; }
    // Puts the next pose into the nodes.
    void ApplyPose();
    // Hooks for whoever keeps the joints' rotations elsewhere: bring the nodes up to date; they are about to change.
    void StorePose();
    void ForgetPose();
  private:
    bool node_mirrored_ = false;   // the view that the root node is in
    bool nodes_stale_ = false;     // an invalidation is due
    bool drawn_ = false;           // upstream would have derived everything for drawing, and nothing has changed since

// @replace onthepitch/player/humanoid/humanoidbase.hpp GetGeomPosition
Vector3 GetGeomPosition() { SyncRoot(); return humanoidNode->GetPosition(); }

// @replace onthepitch/player/humanoid/humanoidbase.hpp GetHumanoidNode
boost::intrusive_ptr<Node> GetHumanoidNode() { return SyncedHumanoidNode(); }

// @replace onthepitch/player/humanoid/humanoidbase.hpp GetNodeMap
const NodeMap &GetNodeMap() { return SyncedNodeMap(); }

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::Mirror
void HumanoidBase::SyncRoot() {
  if (node_mirrored_ == mirrored) return;
  humanoidNode->SetPosition(humanoidNode->GetPosition() * Vector3(-1, -1, 1), false);
  const Quaternion q = humanoidNode->GetRotation();
  // Half a turn about the upward axis; the way back is its inverse.
  const float sign = mirrored ? 1.0f : -1.0f;
  humanoidNode->SetRotation(
      Quaternion(q.elements[1], q.elements[0], sign * q.elements[3], -sign * q.elements[2]), false);
  node_mirrored_ = mirrored;
  nodes_stale_ = true;
}

void HumanoidBase::StorePose() {}

void HumanoidBase::ForgetPose() {}

void HumanoidBase::SyncNodes() {
  SyncRoot();
  StorePose();
  if (!nodes_stale_) return;
  humanoidNode->RecursiveUpdateSpatialData(e_SpatialDataType_Both);
  nodes_stale_ = false;
}

void HumanoidBase::Mirror() {
  mirrored = !mirrored;
  nodes_stale_ = true;
  drawn_ = false;
  if (GetGameConfig().render) SyncNodes();
  for (Vector3 *vector :
       {&startPos, &nextStartPos, &previousPosition2D, &tripDirection, &decayingPositionOffset,
        &predicate_RelDesiredDirection, &predicate_DesiredDirection, &predicate_RelIncomingBodyDirection,
        &predicate_LookAt, &predicate_RelDesiredTripDirection, &predicate_RelDesiredBallDirection})
    vector->Mirror();
  startAngle.Mirror();
  nextStartAngle.Mirror();
  spatialState.Mirror();
}

// @replace onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::FetchPutBuffers
void HumanoidBase::ApplyPose() {
  const AnimApplyBuffer &b = animApplyBuffer;
  b.anim->Apply(nodeMap, b.frameNum, -1, b.smooth, b.smoothFactor, b.position, b.orientation, animApplyBuffer.offsets,
                &movementHistory, 10, b.noPos, false);
}

void HumanoidBase::FetchPutBuffers() {
  SyncRoot();
  ApplyPose();
  nodes_stale_ = true;
  drawn_ = false;
  if (GetGameConfig().render) SyncNodes();
}

// @enter onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::UpdateFullbodyNodes
  if (!GetGameConfig().render) {
    // Nothing that is derived here is ever read. Turned players are turned back, and so invalidated.
    if (mirror) nodes_stale_ = true;
    drawn_ = !mirror;
    return;
  }

// @enter onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::ResetPosition
  SyncNodes();
  if (drawn_) {
    for (const auto &node : nodeMap) {
      if (!node) continue;
      node->GetDerivedRotation();
      node->GetDerivedPosition();
    }
  }
  drawn_ = false;
  ForgetPose();

// @enter onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::ProcessState
  SyncNodes();
  ForgetPose();

// @rename onthepitch/player/humanoid/humanoid.cpp Humanoid::Process nodeMap SyncedNodeMap() 2
