// Which files reading a document may need, without knowing what its keys mean.
#include <algorithm>
#include <filesystem>
#include <set>

#include "models/base/error.hpp"
#include "models/config/document.hpp"

namespace moesim {
namespace {

/// No path is longer (limits.h, PATH_MAX).
constexpr std::size_t longest_path = 4096;

class Needed {
 public:
  void add(const Value& document) {
    for (const std::string& file : document.files) add(file);
    visit(document);
  }

  void visit(const Value& value) {
    if (value.kind == Value::Kind::text) look_for(value);
    for (const Value& item : value.items) visit(item);
    for (const auto& [name, member] : value.members) visit(member);
  }

  std::vector<std::string> result() && { return std::move(files_); }

 private:
  /// Whether it is new.
  bool add(const std::string& file) {
    if (std::find(files_.begin(), files_.end(), file) != files_.end()) return false;
    files_.push_back(file);
    return true;
  }

  void look_for(const Value& name) {
    if (name.text.size() > longest_path || name.text == "-") return;
    if (!seen_.emplace(name.origin, name.text).second) return;
    std::error_code ignored;
    try {
      const std::string file = find_beside(name.text, name.origin);
      if (!std::filesystem::is_regular_file(file, ignored) || !add(file)) return;
      if (file.ends_with(".json")) add(load_document(file));
    } catch (const InputError&) {  // no name of a file, or of one with a mistake, which its reader says
    }
  }

  std::vector<std::string> files_;
  std::set<std::pair<std::string, std::string>> seen_;  // origins and texts
};

}  // namespace

std::vector<std::string> files_needed(const Value& document, std::span<const Value> others) {
  Needed needed;
  needed.add(document);
  for (const Value& other : others) needed.visit(other);
  return std::move(needed).result();
}

}  // namespace moesim
