// Text for people, which whoever tells something lays out.
#include "sim/write/writer.hpp"

namespace moesim {

namespace {

class Text final : public Writer {
 public:
  Text() : Writer(Form::text) {}
  std::string write(const Told& told) const override { return told.text(); }
};

}  // namespace

extern constexpr Entry<Writer> text_writer{
    "text", "text for people",
    [](Reader&) -> std::unique_ptr<const Writer> { return std::make_unique<Text>(); }};

}  // namespace moesim
