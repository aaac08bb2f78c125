// Engines whose animations are equal share what is worked out from them.
//
// Every engine loads the same animations into objects of its own. Tables made from them are the same in all engines;
// kept once an engine, they push each other out of the processor's cache when a thread steps engine after engine. So a
// collection is fingerprinted when it is first asked, and all collections with one fingerprint have one
// `SharedAnimations`, to which other optimisations add their tables.
//
// Exact: the fingerprint has 128 bits and covers, in order, all that tables are made from: type, foot, variables, key
// frames and touches of every animation, and what its getters say. A table is made once, under a lock, and never
// changes afterwards; it lives as long as the process. After loading nothing changes an animation, so what its getters
// keep stays true, too: a new match need not make them look again.

// @members utils/animation.hpp Animation
    public:
      void KeepCache() const {}

// @rename onthepitch/match.cpp Match::Match DirtyCache KeepCache

// @members utils/animation.hpp VariableCache

   public:
    const std::map<std::string, std::string> &All() const { return values; }

// @top onthepitch/player/humanoid/animcollection.hpp
#include <atomic>
#include <memory>
#include <mutex>

// A table that whoever needs it first makes, on any thread.
template <class Table>
class MadeOnce {
  public:
    template <class Make>
    const Table &Get(Make make) {
      const Table *table = made.load(std::memory_order_acquire);
      return table ? *table : *Made(make);
    }

  private:
    template <class Make>
    const Table *Made(Make make) {
      std::lock_guard<std::mutex> lock(making);
      const Table *table = made.load(std::memory_order_relaxed);
      if (!table) {
        table = new Table(make());
        made.store(table, std::memory_order_release);
      }
      return table;
    }

    std::atomic<const Table *> made{nullptr};
    std::mutex making;
};

// What collections with equal animations have in common.
struct SharedAnimations {
};

// @members onthepitch/player/humanoid/animcollection.hpp AnimCollection

  public:
    SharedAnimations &Shared() {
      if (!shared) shared = &FindShared();
      return *shared;
    }

  private:
    SharedAnimations &FindShared() const;
    SharedAnimations *shared = nullptr;

// @top onthepitch/player/humanoid/animcollection.cpp
#include <cstring>
#include <map>
#include <utility>

// @enter onthepitch/player/humanoid/animcollection.cpp AnimCollection::Clear
  shared = nullptr;

// @before onthepitch/player/humanoid/animcollection.cpp AnimCollection::Clear
namespace {

// Two hashes of 64 bits, that mix differently, of all that was added.
class Fingerprint {
  public:
    using Value = std::pair<uint64_t, uint64_t>;

    void Add(uint64_t word) {
      value.first = (value.first ^ word) * 0x9e3779b97f4a7c15ull;
      value.first ^= value.first >> 32;
      value.second = (value.second + word) * 0xd6e8feb86659fd93ull;
      value.second ^= value.second >> 29;
    }
    void Add(float number) {
      uint32_t bits;
      memcpy(&bits, &number, sizeof bits);
      Add(uint64_t(bits));
    }
    void Add(const Vector3 &vector) {
      for (float coordinate : vector.coords) Add(coordinate);
    }
    void Add(const std::string &text) {
      Add(uint64_t(text.size()));
      for (size_t at = 0; at < text.size(); at += 8) {
        uint64_t word = 0;
        memcpy(&word, text.data() + at, std::min<size_t>(8, text.size() - at));
        Add(word);
      }
    }
    void Add(Animation *animation) {
      Add(uint64_t(animation->GetFrameCount()));
      Add(uint64_t(animation->GetAnimType()));
      Add(uint64_t(animation->GetCurrentFoot()));
      Add(uint64_t(animation->GetOutgoingFoot()));
      for (const Vector3 &vector :
           {animation->GetTranslation(), animation->GetIncomingMovement(), animation->GetOutgoingMovement(),
            animation->GetOutgoingDirection(), animation->GetIncomingBodyDirection(),
            animation->GetOutgoingBodyDirection()}) {
        Add(vector);
      }
      for (float number : {animation->GetIncomingVelocity(), animation->GetOutgoingVelocity(),
                           real(animation->GetOutgoingAngle()), real(animation->GetIncomingBodyAngle()),
                           real(animation->GetOutgoingBodyAngle())}) {
        Add(number);
      }

      const auto &variables = animation->GetVariableCache().All();
      Add(uint64_t(variables.size()));
      for (const auto &variable : variables) Add(variable.first), Add(variable.second);
      const VariableCache &kept = animation->GetVariableCache();
      Add(kept.incoming_special_state());
      Add(kept.outgoing_special_state());
      Add(kept.incoming_retain_state());
      for (float number : {kept.idlelevel(), kept.specialvar1(), kept.specialvar2()}) Add(number);
      for (int number : {kept.quadrant_id(), int(kept.lastditch()), int(kept.baseanim())}) Add(uint64_t(number));

      Add(uint64_t(animation->GetNodeAnimations().size()));
      for (const NodeAnimation *node : animation->GetNodeAnimations()) {
        Add(uint64_t(node->nodeName));
        Add(uint64_t(node->animation.d.size()));
        for (const auto &key : node->animation.d) {
          Add(uint64_t(key.first));
          for (float element : key.second.orientation.elements) Add(element);
          Add(key.second.position);
        }
      }

      auto football = boost::static_pointer_cast<FootballAnimationExtension>(animation->GetExtension("football"));
      Add(uint64_t(football->GetTouchCount()));
      for (int i = 0; i < football->GetTouchCount(); i++) {
        Vector3 ball;
        int frame;
        football->GetTouch(i, ball, frame);
        Add(ball);
        Add(uint64_t(frame));
      }
    }

    Value value{0x243f6a8885a308d3ull, 0x13198a2e03707344ull};
};

}  // namespace

SharedAnimations &AnimCollection::FindShared() const {
  static std::mutex mutex;
  static auto *known = new std::map<Fingerprint::Value, SharedAnimations *>;
  Fingerprint fingerprint;
  fingerprint.Add(uint64_t(animations.size()));
  for (Animation *animation : animations) fingerprint.Add(animation);
  std::lock_guard<std::mutex> lock(mutex);
  SharedAnimations *&found = (*known)[fingerprint.value];
  if (!found) found = new SharedAnimations;
  return *found;
}
