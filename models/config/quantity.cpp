#include "models/config/quantity.hpp"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <span>

namespace moesim {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double ki = 1024.0;
constexpr std::array<Unit, 8> times{{{"s", 1},
                                     {"ms", 1e-3},
                                     {"us", 1e-6},
                                     {"ns", 1e-9},
                                     {"ps", 1e-12},
                                     {"min", 60},
                                     {"h", 3600},
                                     {"d", 86400}}};
constexpr std::array<Unit, 12> sizes{{{"B", 1},
                                      {"kB", 1e3},
                                      {"KB", 1e3},
                                      {"MB", 1e6},
                                      {"GB", 1e9},
                                      {"TB", 1e12},
                                      {"PB", 1e15},
                                      {"KiB", ki},
                                      {"MiB", ki* ki},
                                      {"GiB", ki* ki* ki},
                                      {"TiB", ki* ki* ki* ki},
                                      {"PiB", ki* ki* ki* ki* ki}}};
constexpr std::array<Unit, 12> rates{{{"B/s", 1},
                                      {"kB/s", 1e3},
                                      {"MB/s", 1e6},
                                      {"GB/s", 1e9},
                                      {"TB/s", 1e12},
                                      {"MiB/s", ki* ki},
                                      {"GiB/s", ki* ki* ki},
                                      {"b/s", 0.125},
                                      {"kb/s", 125},
                                      {"Mb/s", 1.25e5},
                                      {"Gb/s", 1.25e8},
                                      {"Tb/s", 1.25e11}}};
constexpr std::array<Unit, 6> flop_rates{
    {{"FLOPS", 1}, {"MFLOPS", 1e6}, {"GFLOPS", 1e9}, {"TFLOPS", 1e12}, {"PFLOPS", 1e15}, {"EFLOPS", 1e18}}};
constexpr std::array<Unit, 4> powers{{{"W", 1}, {"mW", 1e-3}, {"kW", 1e3}, {"MW", 1e6}}};
constexpr std::array<Unit, 8> energies{{{"J", 1},
                                        {"pJ", 1e-12},
                                        {"nJ", 1e-9},
                                        {"uJ", 1e-6},
                                        {"mJ", 1e-3},
                                        {"kJ", 1e3},
                                        {"MJ", 1e6},
                                        {"kWh", 3.6e6}}};

Parsed parse(std::string_view text, std::span<const Unit> units, std::string_view what) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  double amount = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error == std::errc::result_out_of_range) {
    return {std::nullopt, fmt::format("is out of range, expected {}", what)};
  }
  if (error != std::errc() || !std::isfinite(amount))
    return {std::nullopt, fmt::format("does not begin with a number, expected {}", what)};
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && std::isspace(static_cast<unsigned char>(unit.front())) != 0) unit.remove_prefix(1);
  if (unit.empty()) return {std::nullopt, fmt::format("has no unit, expected {}", what)};
  for (const Unit& known : units) {
    if (known.name == unit) return {amount * known.factor, {}};
  }
  return {std::nullopt, fmt::format("has the unknown unit '{}', expected {}", unit, what)};
}

}  // namespace

Parsed parse_time(std::string_view text) {
  return parse(text, times, "a time as \"2 us\" (ps, ns, us, ms, s, min, h, d)");
}

Parsed parse_bytes(std::string_view text) {
  return parse(text, sizes, "a size as \"64 MB\" (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)");
}

Parsed parse_rate(std::string_view text) {
  return parse(text, rates, "a rate as \"50 GB/s\" (B/s, MB/s, GB/s, TB/s, or bits: Mb/s, Gb/s, Tb/s)");
}

Parsed parse_flop_rate(std::string_view text) {
  return parse(text, flop_rates, "a compute rate as \"989 TFLOPS\" (GFLOPS, TFLOPS, PFLOPS)");
}

Parsed parse_power(std::string_view text) {
  return parse(text, powers, "a power as \"700 W\" (mW, W, kW, MW)");
}

Parsed parse_energy(std::string_view text) {
  return parse(text, energies, "an energy as \"0.66 pJ\" (pJ, nJ, uJ, mJ, J, kJ, MJ, kWh)");
}

}  // namespace moesim
