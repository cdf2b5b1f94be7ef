#include "sim/write/packed.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/packed.hpp"

using namespace moesim;
using namespace moesim::testing;

TEST_CASE("Packed numbers are LEB128 in Base64") {
  Packed packed;
  packed.add(0x66);
  CHECK(packed.text() == "Zg==");  // RFC 4648, section 10: f, fo, foo, ...
  packed.add(0x6f);
  CHECK(packed.text() == "Zm8=");
  packed.add(0x6f);
  CHECK(packed.text() == "Zm9v");
  packed.add(0x62);
  CHECK(packed.text() == "Zm9vYg==");
  Packed large;
  large.add(624485);  // DWARF 5, figure 7.1 has smaller ones: 0xe5 0x8e 0x26
  CHECK(large.text() == "5Y4m");
  CHECK(Packed().text().empty());
}

TEST_CASE("What is packed comes back, also the largest and the lowest numbers") {
  const std::vector<std::int64_t> numbers{0,         -1,          1, 63, -64, 64, 127, 128, -2'000'000'000,
                                          1LL << 52, -(1LL << 52)};
  Packed packed;
  for (const std::int64_t number : numbers) packed.add_signed(number);
  packed.add(~std::uint64_t{0});
  Unpacked unpacked(packed.text());
  for (const std::int64_t number : numbers) CHECK(unpacked.next_signed() == number);
  CHECK(unpacked.next() == ~std::uint64_t{0});
  CHECK(unpacked.is_at_end());
}
