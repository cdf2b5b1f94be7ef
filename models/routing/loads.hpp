// Where the choices of one layer and microbatch went, in one expert-parallel group.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/base/at.hpp"

namespace moesim {

/// What the router chooses from.
struct Gate {
  std::int64_t experts = 1;
  std::int64_t top_k = 1;
  std::int64_t groups = 1;         ///< equal, contiguous groups of experts ...
  std::int64_t chosen_groups = 1;  ///< ... of which a token may reach this many
};

/// Rows of each source for each expert. rows + dropped + skipped = sources x tokens x top-k.
struct Loads {
  std::int64_t sources = 1;  ///< ranks of the expert-parallel group
  std::int64_t experts = 1;
  std::vector<std::int64_t> rows;  ///< kept choices, [source][expert]
  std::int64_t dropped = 0;        ///< choices over capacity, of all sources
  std::int64_t skipped = 0;        ///< second choices that chance left out (GShard), of all sources
  /// Above 0: the rows of each source's buffer for one expert, sent and computed whole (padded). 0: rows go
  /// as they are.
  std::int64_t capacity = 0;

  std::int64_t of(std::int64_t source, std::int64_t expert) const {
    return at(rows, source * experts + expert);
  }
  /// Over all sources.
  std::int64_t of_expert(std::int64_t expert) const;
  std::vector<std::int64_t> of_experts() const;
  std::int64_t total() const;
};

/// What is asked of a routing policy.
struct Demand {
  Gate gate;
  std::int64_t sources = 1;
  std::int64_t tokens = 1;             ///< of one source
  std::span<const double> popularity;  ///< each expert's wanted share of all choices; sums to 1
};

/// The chance of each expert to be among the k of a token, none above 1; sums to k.
std::vector<double> chances(const Demand& demand);

/// Divides the rows of each expert evenly among the sources into `loads`, whose memory is used again; rows
/// that do not divide go to one source after the other.
void divide(std::span<const std::int64_t> of_expert, const Demand& demand, Loads& loads);

/// The rows of each expert that are expected without any drop, in whole numbers that add up to all choices.
/// No expert gets a token twice, so what an expert cannot take (more than all tokens) goes to the others by
/// their popularity. The busiest expert has its expected rows rounded up, so it never gets less where its
/// popularity is higher; rows of experts before and with any other are rounded up together. Even popularity
/// gives even rows.
std::vector<std::int64_t> expected_rows(const Demand& demand);
/// Those, divided among the sources, each of which sends exactly tokens x top-k rows.
void fill_expected(const Demand& demand, Loads& loads);

}  // namespace moesim
