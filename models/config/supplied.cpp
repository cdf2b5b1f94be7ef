// What one part of a document says of a key of another.
#include "models/config/reader.hpp"
#include "models/config/values.hpp"

namespace moesim {

void Reader::supply(std::string_view name, std::string_view text) {
  if (is_describing()) return;
  const Value* given = value_->find(name);
  if (given != nullptr && given->text != "none") return;
  auto whole = std::make_unique<Value>(*value_);
  whole->set(name, value_of(text));
  owned_ = std::move(whole);
  value_ = owned_.get();
}

}  // namespace moesim
