// An engine that does not render leaves out what only pictures show: textures, the pitch and the stands, hair, the
// players' skin, the images of the menu and the score board.
//
// Why this is exact: play reads from all of it the boxes around the players' body parts (their collisions with the
// ball and with animations), which are computed from the loaded meshes before those are dropped, and the pose in which
// the preparation of a player's skin leaves his joints, which is still taken. No random number is drawn in any of this.
// An engine that renders does as ever; `game_config.render` must not change after start_game, and our driver fixes it
// there.

// @top loaders/aseloader.cpp
#include "../main.hpp"

// @enter loaders/aseloader.cpp ASELoader::Load
  if (!GetGameConfig().render) {
    // Nothing else than the parts of the players' bodies can touch anything.
    const bool bodyPart = filename.find("/players/models/") != std::string::npos &&
                          filename.find("fullbody") == std::string::npos;
    if (!bodyPart) return;
    std::unique_ptr<s_tree> tree(tree_load(filename));
    Build(tree.get(), resource);
    resource->GetResource()->KeepOnlyBounds();
    return;
  }

// @members scene/resources/geometrydata.hpp GeometryData
    public:
      // Forgets the meshes, and keeps the box around them.
      void KeepOnlyBounds() {
        GetAABB();
        for (MaterializedTriangleMesh& mesh : triangleMeshes) delete[] mesh.vertices;
        triangleMeshes.clear();
      }

// @enter systems/graphics/objects/graphics_geometry.cpp GraphicsGeometry_GeometryInterpreter::OnLoad
    if (!GetGameConfig().render) return;

// @top loaders/imageloader.cpp
#include "../base/sdl_surface.hpp"
#include "../main.hpp"

// @enter loaders/imageloader.cpp ImageLoader::Load
  if (!GetGameConfig().render) {
    resource->GetResource()->SetData(CreateSDLSurface(1, 1));
    return;
  }

// @enter utils/gui2/widgets/image.cpp Gui2Image::LoadImage
  if (!GetGameConfig().render) return;

// @enter utils/gui2/windowmanager.cpp Gui2WindowManager::CreateImage2D
  if (!GetGameConfig().render) width = height = 1;

// @before utils/gui2/windowmanager.cpp Gui2WindowManager::Gui2WindowManager
static SDL_Surface *CreateBackground(int width, int height) {
  return GetGameConfig().render ? CreateSDLSurface(width, height) : CreateSDLSurface(1, 1);
}

// @rename utils/gui2/windowmanager.cpp Gui2WindowManager::Gui2WindowManager CreateSDLSurface CreateBackground

// @enter gamedefines.cpp GetVertexColors
  if (!GetGameConfig().render) return;

// @members onthepitch/player/humanoid/animcollection.hpp AnimCollection
  public:
    // The poses, one after the other, that the preparation of a player's skin makes him take.
    const std::vector<std::unique_ptr<Animation>>& SkinPoses();

  private:
    std::vector<std::unique_ptr<Animation>> skinPoses;

// @top onthepitch/player/humanoid/animcollection.hpp
#include <memory>

// @before onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::PrepareFullbodyModel
const std::vector<std::unique_ptr<Animation>>& AnimCollection::SkinPoses() {
  if (skinPoses.empty()) {
    for (const char* file : {"media/animations/base.anim.util", "media/animations/straight.anim.util"}) {
      skinPoses.emplace_back(new Animation());
      skinPoses.back()->Load(file);
    }
  }
  return skinPoses;
}

// @enter onthepitch/player/humanoid/humanoidbase.cpp HumanoidBase::PrepareFullbodyModel
  if (!GetGameConfig().render) {
    BiasedOffsets none;
    for (const auto& pose : anims->SkinPoses())
      pose->Apply(nodeMap, 0, 0, false, 0.0f, Vector3(0), 0, none, nullptr, 0, true);
    return;
  }
