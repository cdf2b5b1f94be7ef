#include <algorithm>
#include <cmath>
#include <numeric>

#include "pieces.hpp"
#include "selftest_support.hpp"

namespace measure::selftest {
namespace {

/// Probabilities, and the largest with their experts: the lower expert first among equals, of which bf16
/// logits have many.
struct Routing {
  Numbers probabilities, weights, choices;
};
Routing routed(const Numbers& logits, Int tokens, Int experts, Int k) {
  Routing all;
  for (Int t = 0; t < tokens; ++t) {
    const double* own = logits.data() + t * experts;
    double total = 0;
    for (Int e = 0; e < experts; ++e) total += std::exp(own[e]);
    for (Int e = 0; e < experts; ++e) all.probabilities.push_back(std::exp(own[e]) / total);
    std::vector<Int> order(size(experts));
    std::iota(order.begin(), order.end(), Int{0});
    std::stable_sort(order.begin(), order.end(), [own](Int a, Int b) { return own[a] > own[b]; });
    for (Int j = 0; j < k; ++j) {
      all.choices.push_back(static_cast<double>(order[size(j)]));
      all.weights.push_back(std::exp(own[order[size(j)]]) / total);
    }
  }
  return all;
}

Numbers gradient_of_logits(const Routing& of, const Numbers& slopes, Int tokens, Int experts, Int k) {
  Numbers result;
  for (Int t = 0; t < tokens; ++t) {
    Numbers slope(size(experts));
    double dot = 0;
    for (Int i = t * k; i < (t + 1) * k; ++i) {
      slope[static_cast<std::size_t>(of.choices[size(i)])] = slopes[size(i)];
      dot += of.weights[size(i)] * slopes[size(i)];
    }
    for (Int e = 0; e < experts; ++e)
      result.push_back(of.probabilities[size(t * experts + e)] * (slope[size(e)] - dot));
  }
  return result;
}

void test_router(Int experts, Int k) {
  const Int tokens = 29;
  const Random logits = random(tokens * experts), slopes = random(tokens * k);
  const Routing right = routed(logits.host, tokens, experts, k);
  const Buffer p = poisoned(tokens * experts * 4), w = poisoned(tokens * k * 4), c = poisoned(tokens * k * 4),
               back = poisoned(tokens * experts * 2);
  router(logits.device.get<Half>(), p.get<float>(), w.get<float>(), c.get<int>(), tokens, experts, k,
         stream());
  const std::vector<int> chosen = read<int>(c.get(), size(tokens * k));
  const std::string name = "router, " + std::to_string(k) + " of " + std::to_string(experts);
  compare(name, read_float(p.get(), right.probabilities.size()), right.probabilities, 1e-4);
  compare(name + ", weights", read_float(w.get(), right.weights.size()), right.weights, 1e-4);
  compare(name + ", choices", Numbers(chosen.begin(), chosen.end()), right.choices, 1e-9);
  const Buffer s = uploaded(std::vector<float>(slopes.host.begin(), slopes.host.end()));
  router_backward(p.get<float>(), w.get<float>(), c.get<int>(), s.get<float>(), back.get<Half>(), tokens,
                  experts, k, stream());
  const Numbers gradient = gradient_of_logits(right, slopes.host, tokens, experts, k);
  compare(name + ", backward", read_bf16(back.get(), gradient.size()), gradient, 1e-2);
}

/// Rows go out and come back: the sum over a token's rows with its weights is its row times their sum.
void test_permutation(Int k, Int width) {
  const Int tokens = 29;
  const Random rows = random(tokens * width), weights = random(tokens * k);
  std::vector<int> place;
  for (Int i = 0; i < tokens * k; ++i) place.push_back(static_cast<int>((i * 5 + 3) % (tokens * k)));
  const Buffer places = uploaded(place),
               w = uploaded(std::vector<float>(weights.host.begin(), weights.host.end())),
               there = poisoned(tokens * k * width * 2), home = poisoned(tokens * width * 2);
  permute(rows.device.get<Half>(), places.get<int>(), there.get<Half>(), tokens, width, k, stream());
  unpermute(there.get<Half>(), places.get<int>(), w.get<float>(), home.get<Half>(), tokens, width, k,
            stream());
  Numbers moved(size(tokens * k * width)), summed;
  for (Int i = 0; i < tokens * k; ++i)
    for (Int c = 0; c < width; ++c)
      moved[size(place[size(i)] * width + c)] = rows.host[size(i / k * width + c)];
  for (Int t = 0; t < tokens; ++t) {
    double total = 0;
    for (Int j = 0; j < k; ++j) total += weights.host[size(t * k + j)];
    for (Int c = 0; c < width; ++c) summed.push_back(total * rows.host[size(t * width + c)]);
  }
  const std::string name = " of " + std::to_string(k) + " x " + std::to_string(width);
  compare("permute" + name, read_bf16(there.get(), moved.size()), moved, 1e-9);
  compare("unpermute" + name, read_bf16(home.get(), summed.size()), summed, 1e-2);
}

}  // namespace

void test_routing() {
  // Every split of a token over lanes, with lanes left over, and every number of choices that has its own.
  for (const Int experts : {8, 12, 16, 32, 40, 60, 64, 96, 128, 160, 192, 256, 384, 512})
    test_router(experts, 8);
  for (const Int k : {1, 2, 4, 6, 16}) test_router(64, k), test_router(256, k);
  test_router(8, 2), test_router(4, 1), test_router(16, 16);
  for (const Int k : {1, 2, 4, 6, 8})
    for (const Int width : {264, 2040, 4096, 7176}) test_permutation(k, width);
}

}  // namespace measure::selftest
