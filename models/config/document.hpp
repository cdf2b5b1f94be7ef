// A JSON file with what it extends and what the command line overrides, before anyone asks what it means.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/value.hpp"

namespace moesim {

/// One `--set KEY=VALUE`: a dotted path and a JSON value (a bare word is a text).
struct Override {
  std::string key;
  Value value;
};

/// Splits "KEY=VALUE". Throws InputError where there is no key or no '='.
Override parse_override(std::string_view argument);

/// Loads a file ("-" is standard input): follows every "extends" (members of the child win, objects merge, a
/// null takes the inherited member away, as in RFC 7396), then applies the overrides: in order, but a part
/// before its keys and a kind before its siblings. A path that leads through a part given as a file name
/// opens that file in place; a number picks an item of a list. Throws InputError, also for "extends" in a
/// circle and for a null that takes nothing away.
Value load_document(const std::string& path, const std::vector<Override>& overrides = {});

/// The same for text that is at hand; `origin` names it in errors and anchors relative paths.
Value load_document_text(const std::string& text, const std::string& origin,
                         const std::vector<Override>& overrides = {});

/// Sets the value at a dotted path, adding objects on the way; null takes it away. Throws InputError where
/// the path leads through a value that has no members, or there is nothing to take away.
void apply_override(Value& document, const Override& change);

/// What becomes of files of measurements, which are large (keys "file" and "table").
enum class DataFiles : std::uint8_t {
  named,   ///< as they are found from the current folder
  opened,  ///< as any part
};

/// A document that stands by itself: parts that are files are opened in place. What cannot be opened stays as
/// it is: whoever reads it says why.
Value whole_document(Value document, DataFiles data = DataFiles::named);

/// What a document is: its "about", and after it what the command line changed, by the origin of its values:
/// "Two GPUs, with schedule.kind=gpipe". An "about" of the command line says all.
std::string title_of(const Value& document);

/// Where a file named inside another is found: beside it, else in the nearest folder above it, else in the
/// current folder or one above it. Throws InputError naming the first place tried.
std::string find_beside(const std::string& name, const std::string& origin);

/// Every file that reading the document may need: those that it was read from, those that a text in it names,
/// and what these need in turn; `others` are values that may be put into it. No file that is read is missing;
/// a text that is a name by chance may add one.
std::vector<std::string> files_needed(const Value& document, std::span<const Value> others = {});

/// Sees the files that a command needs before anything runs. Throws what stands against it.
using SeesFiles = std::function<void(const std::vector<std::string>& files)>;

}  // namespace moesim
