// Reads the keys of one JSON object. Each key is declared once, where it is read, with help, unit, default
// and bounds; the same declarations print the reference (`moesim describe`). A key that nobody read is an
// error.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/base/units.hpp"
#include "models/config/misfit.hpp"
#include "models/config/value.hpp"

namespace moesim {

/// What one key is called and means. Without a fallback it must be given. Bounds are inclusive.
template <class T>
struct Key {
  std::string_view name;
  std::string_view help;
  std::optional<T> fallback = std::nullopt;
  std::optional<T> at_least = std::nullopt;
  std::optional<T> at_most = std::nullopt;
};

/// A key as `moesim describe` shows it.
struct Declaration {
  std::string name, help, type, fallback, bounds;
  bool required = false;
};

/// A cursor on one object of a document.
class Reader {
 public:
  /// Reads `value`, which errors call `path` ("" is the whole document).
  Reader(const Value& value, std::string path);
  /// Reads nothing: collects what is declared, and returns every key with its fallback or a legal value.
  static Reader describing(std::vector<Declaration>& declarations);
  /// Reads `value`, and notes each key that it or a part of it is asked for, given or not. A note's name is
  /// the whole path from `value`, through parts that are files too.
  static Reader noting(const Value& value, std::vector<Declaration>& notes);

  std::int64_t integer(const Key<std::int64_t>& key);
  double number(const Key<double>& key);  ///< a ratio or count without dimension
  bool flag(const Key<bool>& key);
  std::string text(const Key<std::string>& key);
  Time time(const Key<Time>& key);                  ///< "2 us"
  WallClock wall_clock(const Key<WallClock>& key);  ///< "365 d"
  Bytes bytes(const Key<Bytes>& key);               ///< "64 MB", "16 GiB"
  Rate rate(const Key<Rate>& key);                  ///< "50 GB/s", "400 Gb/s"
  FlopRate flop_rate(const Key<FlopRate>& key);     ///< "989 TFLOPS"
  Power power(const Key<Power>& key);               ///< "700 W"
  Energy energy(const Key<Energy>& key);            ///< "24 pJ"
  std::vector<std::int64_t> integers(
      const Key<std::int64_t>& key);                    ///< a list; bounds hold for each; fallback: empty
  std::vector<double> numbers(const Key<double>& key);  ///< a list; bounds hold for each; fallback: empty
  std::vector<std::string> texts(
      const Key<std::string>& key);  ///< a list, or one text standing for a list of it
  /// One of `names`; returns its position.
  std::size_t choice(const Key<std::string>& key, std::span<const std::string_view> names);

  /// Whether the key is given (a described reader has none).
  bool has(std::string_view name) const;
  /// Gives a key its value where the object does not, or says "none": what another part of the document says
  /// of it.
  void supply(std::string_view name, std::string_view text);
  /// A part: an object in place, or the name of a JSON file that holds it. Must be given.
  Reader part(std::string_view name, std::string_view help, std::span<const std::string_view> kinds = {});
  /// The same, or nothing where it is not given.
  /// Of a family with these kinds, a kind in the place of an object is an error that says how to give it.
  std::optional<Reader> optional_part(std::string_view name, std::string_view help,
                                      std::span<const std::string_view> kinds = {});
  /// The objects of a list; empty where it is not given.
  std::vector<Reader> items(std::string_view name, std::string_view help);
  /// Leaves a key to someone else: declared and counted as read, not looked at. Null where it is not given.
  const Value* raw(std::string_view name, std::string_view help);

  /// Throws InputError for a key that nobody read, naming the nearest known one.
  void finish() const;
  /// Throws InputError at a key of this object ("" is the object itself).
  [[noreturn]] void fail(std::string_view name, const std::string& what, std::string hint = {}) const;
  /// Throws InputError where `path`, a dotted key, is given: it is a key elsewhere now.
  void moved(std::string_view path, std::string_view to) const;
  /// Throws InputError for what does not fit.
  void expect(const Fit& fit) const;
  /// The same of what a rule returns. A described reader asks none: it has nothing that could clash.
  template <class Rule, class... Of>
  void expect(const Rule& rule, const Of&... of) const {
    if (!is_describing()) expect(static_cast<const Fit&>(rule(of...)));
  }
  /// "file: path.key", as errors print it.
  std::string where(std::string_view name = {}) const;
  bool is_describing() const { return declarations_ != nullptr; }
  const Value& value() const { return *value_; }

 private:
  Reader() = default;
  const Value* take(std::string_view name);
  void declare(std::string_view name, std::string_view help, std::string type, std::string fallback,
               std::string bounds, bool required);
  template <class T, class Convert>
  T read(const Key<T>& key, std::string_view type, const T& legal, Convert convert);
  template <class T, class Convert>
  std::vector<T> read_list(const Key<T>& key, std::string_view type, Convert convert);
  template <class T>
  void check_bounds(const Key<T>& key, const T& value) const;
  /// A reader of a part, whose notes go where this one's go.
  Reader of_part(const Value& value, std::string path, std::string_view step) const;

  const Value* value_ = nullptr;
  std::unique_ptr<Value> owned_;  // a part that was opened from its file
  std::string path_;
  std::vector<std::string> known_;
  std::vector<Declaration>* declarations_ = nullptr;
  std::vector<Declaration>* notes_ = nullptr;
  std::string noted_path_;  // through files, where `path_` begins anew
  std::unique_ptr<std::vector<Declaration>>
      discarded_;  // of a described part: it is described where it lives
};

/// The name in `known` that is nearest to `name` by edits, or "" where none is near.
std::string nearest_name(std::string_view name, std::span<const std::string> known);

}  // namespace moesim
