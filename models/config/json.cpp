// The one place that turns JSON text into values and back.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "models/base/error.hpp"
#include "models/config/value.hpp"

namespace moesim {
namespace {

std::string position(const std::string& text, std::size_t byte) {
  std::size_t line = 1;
  std::size_t column = 1;
  for (std::size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    column = text[i] == '\n' ? 1 : column + 1;
    line += text[i] == '\n' ? 1 : 0;
  }
  return fmt::format("line {}, column {}", line, column);
}

/// Reads a text and counts: the parser tells a key but not where it stands.
struct Cursor {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  std::size_t* consumed;

  reference operator*() const { return *at; }
  Cursor& operator++() {
    ++at;
    ++*consumed;
    return *this;
  }
  Cursor operator++(int) {
    const Cursor before = *this;
    ++*this;
    return before;
  }
  bool operator==(const Cursor& other) const { return at == other.at; }
  bool operator!=(const Cursor& other) const { return at != other.at; }
};

/// Far deeper than any file a person writes, far less than what the stack holds.
constexpr std::size_t deepest = 100;

/// Builds values from the parser's events; nlohmann's own tree would lose keys that are given twice.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(const std::string& text, const std::string& origin) : text_(text), origin_(origin) {}

  Cursor begin() { return {text_.data(), &consumed_}; }
  Cursor end() { return {text_.data() + text_.size(), &consumed_}; }
  Value result() { return std::move(root_); }

  bool null() override { return put({}); }
  bool boolean(bool flag) override {
    Value value{.kind = Value::Kind::boolean};
    value.flag = flag;
    return put(std::move(value));
  }
  bool number_integer(number_integer_t number) override { return put_integer(number); }
  bool number_unsigned(number_unsigned_t number) override {
    if (number > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return number_float(static_cast<double>(number), {});
    }
    return put_integer(static_cast<std::int64_t>(number));
  }
  bool number_float(number_float_t number, const string_t&) override {
    Value value{.kind = Value::Kind::number};
    value.number = number;
    return put(std::move(value));
  }
  bool string(string_t& text) override {
    Value value{.kind = Value::Kind::text};
    value.text = std::move(text);
    return put(std::move(value));
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Value::Kind::object); }
  bool key(string_t& name) override {
    if (open_.back()->find(name) != nullptr) fail(fmt::format("key '{}' is given twice", name));
    key_ = std::move(name);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Value::Kind::list); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t byte, const std::string& token,
                   const nlohmann::detail::exception& error) override {
    std::string reason = error.what();
    const std::size_t colon = reason.find(": ");
    const std::size_t dash = reason.find(" - ");
    if (dash != std::string::npos) {
      reason = reason.substr(dash + 3);
    } else if (colon != std::string::npos) {
      reason = reason.substr(colon + 2);
    }
    if (reason.find("number overflow") != std::string::npos)
      reason = fmt::format("the number {} is too large", token);
    consumed_ = byte;
    fail("wrong JSON: " + reason);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("{}: {}", origin_, position(text_, consumed_)), what);
  }
  bool put_integer(std::int64_t number) {
    Value value{.kind = Value::Kind::integer};
    value.integer = number;
    value.number = static_cast<double>(number);
    return put(std::move(value));
  }
  Value& place(Value value) {
    value.origin = origin_;
    if (open_.empty()) return root_ = std::move(value);
    Value& parent = *open_.back();
    if (parent.kind == Value::Kind::list) return parent.items.emplace_back(std::move(value));
    return parent.members.emplace_back(std::move(key_), std::move(value)).second;
  }
  bool put(Value value) {
    place(std::move(value));
    return true;
  }
  bool open(Value::Kind kind) {
    if (open_.size() == deepest) fail(fmt::format("wrong JSON: nested deeper than {} levels", deepest));
    // Addresses on the stack stay valid: a parent grows only while none of its children is open.
    open_.push_back(&place(Value{.kind = kind}));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& text_;
  const std::string& origin_;
  Value root_;
  std::vector<Value*> open_;
  std::string key_;
  std::size_t consumed_ = 0;
};

nlohmann::ordered_json to_json(const Value& value) {
  switch (value.kind) {
    case Value::Kind::null:
      return nullptr;
    case Value::Kind::boolean:
      return value.flag;
    case Value::Kind::integer:
      return value.integer;
    case Value::Kind::number:
      return value.number;
    case Value::Kind::text:
      return value.text;
    case Value::Kind::list: {
      auto list = nlohmann::ordered_json::array();
      for (const Value& item : value.items) list.push_back(to_json(item));
      return list;
    }
    case Value::Kind::object: {
      auto object = nlohmann::ordered_json::object();
      for (const auto& [name, member] : value.members) object[name] = to_json(member);
      return object;
    }
  }
  return nullptr;
}

}  // namespace

Value parse_json(const std::string& text, const std::string& origin) {
  Builder builder(text, origin);
  nlohmann::json::sax_parse(builder.begin(), builder.end(), &builder);
  return builder.result();
}

std::string write_json(const Value& value) {
  return to_json(value).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string one_line(const Value& value) { return print(value, std::numeric_limits<std::size_t>::max()); }

std::string print(const Value& value, std::size_t longest) {
  std::string text = to_json(value).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  if (text.size() <= longest) return text;
  std::size_t end = longest - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;  // whole UTF-8 letters
  return text.substr(0, end) + "...";
}

}  // namespace moesim
