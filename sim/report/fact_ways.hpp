// How facts are read off a report: ways through its members.
#pragma once

#include <functional>
#include <optional>

#include "models/config/values.hpp"
#include "sim/report/report.hpp"

namespace moesim {

inline Value told(Time time) { return value_of(to_seconds(time)); }
inline Value told(Bytes bytes) { return value_of(bytes.count); }
inline Value told(WallClock time) { return value_of(time.count); }
inline Value told(Power power) { return value_of(power.count); }
inline Value told(const auto& plain) { return value_of(plain); }

/// What stands at the end of a way through members, and through optional parts: null where one is missing.
template <auto... way>
struct Way;
template <>
struct Way<> {
  template <class Part>
  static Value in(const Part& part) {
    return told(part);
  }
  template <class Part>
  static Value in(const std::optional<Part>& part) {
    return part ? told(*part) : Value{};
  }
};
template <auto first, auto... rest>
struct Way<first, rest...> {
  template <class Part>
  static Value in(const Part& part) {
    return Way<rest...>::in(std::invoke(first, part));
  }
  template <class Part>
  static Value in(const std::optional<Part>& part) {
    return part ? in(*part) : Value{};
  }
};

template <auto... way>
Value at(const Report& report) {
  return Way<way...>::in(report);
}

/// The same of a scenario with a model.
template <auto... way>
Value of_model(const Report& report) {
  return report.tokens > 0 ? at<way...>(report) : Value{};
}

/// A number of the kernels of one class, where there are any.
template <KernelClass kernels, auto member>
Value of_kernels(const Report& report) {
  const KernelReport& of_class = report.kernels[static_cast<std::size_t>(kernels)];
  return of_class.time.count > 0 ? told(of_class.*member) : Value{};
}

/// What kernels of one class draw on a device, beyond idle, where that is known.
template <KernelClass kernels>
Value energy_of_kernels(const Report& report) {
  const KernelReport& of_class = report.kernels[static_cast<std::size_t>(kernels)];
  return report.power && of_class.time.count > 0 ? value_of(of_class.energy.count) : Value{};
}

/// Of all devices in a step.
template <auto member>
Value joules_of(const Report& report) {
  if (!report.power) return {};
  return value_of(((*report.power).*member).count * static_cast<double>(report.devices));
}

/// The same of one with memory.
template <auto... way>
Value of_memory(const Report& report) {
  return report.memory.empty() ? Value{} : at<way...>(report);
}

/// The same of one whose failures come at random.
template <auto... way>
Value of_failures(const Report& report) {
  const bool are_random = report.goodput && report.goodput->mean_between_s > 0;
  return are_random ? at<&Report::goodput, way...>(report) : Value{};
}

}  // namespace moesim
