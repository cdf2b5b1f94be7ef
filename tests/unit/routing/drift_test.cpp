// How popularity drifts, and that balancing does what its mechanism does token by token.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "models/base/at.hpp"
#include "models/routing/balance.hpp"
#include "models/routing/drift.hpp"

using namespace moesim;

namespace {

std::shared_ptr<const Balancing> balancing(const std::string& json) {
  const Value value = parse_json(json, "balancing");
  Reader reader(value, "balancing");
  return make_member(reader, balancings(), "balancing");
}

std::vector<double> zipf(std::size_t experts, double exponent = 1) {
  std::vector<double> shares;
  for (std::size_t n = 0; n < experts; ++n)
    shares.push_back(std::pow(static_cast<double>((n * 7) % experts + 1), -exponent));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  return shares;
}

DriftingLayer layer_of(const std::string& json, double half_life, const std::vector<double>& natural,
                       std::int64_t top_k = 2) {
  return {{.half_life = half_life, .balancing = balancing(json)},
          {.experts = std::ssize(natural), .top_k = top_k},
          natural,
          Random(3),
          0};
}

/// Of the logarithms.
double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto mean = [](const std::vector<double>& of) {
    double sum = 0;
    for (const double one : of) sum += std::log(one);
    return sum / static_cast<double>(of.size());
  };
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = std::log(a[i]) - mean(a), y = std::log(b[i]) - mean(b);
    ab += x * y, aa += x * x, bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("Without a half-life and balancing popularity stays what it was to the last bit") {
  const std::vector<double> natural = zipf(64);
  DriftingLayer layer = layer_of(R"({"kind": "none"})", 0, natural);
  for (int step = 0; step < 10; ++step, layer.advance()) CHECK(layer.popularity() == natural);
}

TEST_CASE("The first step has the popularity of the skew, whatever drifts and balances") {
  const std::vector<double> natural = zipf(64);
  for (const char* kind :
       {R"({"kind": "none"})", R"({"kind": "bias"})", R"({"kind": "auxiliary_loss", "rate": 0.1})"})
    CHECK(layer_of(kind, 20, natural).popularity() == natural);
}

TEST_CASE("Drift keeps the spread of its skew and forgets who was popular") {
  const std::vector<double> natural = zipf(512, 0.5);
  DriftingLayer layer = layer_of(R"({"kind": "none"})", 50, natural);
  double last = 1;
  for (int lives = 1; lives <= 3; ++lives) {
    for (int step = 0; step < 50; ++step) layer.advance();
    // Logarithms of popularity are nearly linear in the scores, whose correlation halves.
    const double left = correlation(natural, layer.popularity());
    CHECK(left < last);
    CHECK(left == Approx(std::pow(0.5, lives)).margin(0.15));
    last = left;
  }
  double spread = 0;
  constexpr int steps = 200;
  for (int step = 0; step < steps; ++step) {
    for (int far = 0; far < 100; ++far) layer.advance();
    spread += balancing_loss(layer.popularity()) / steps;
    CHECK(std::accumulate(layer.popularity().begin(), layer.popularity().end(), 0.0) == Approx(1));
  }
  CHECK(spread == Approx(balancing_loss(natural)).epsilon(0.1));
}

TEST_CASE("A step is the same however it is reached, and other layers drift otherwise") {
  const std::vector<double> natural = zipf(16);
  DriftingLayer one = layer_of(R"({"kind": "bias"})", 10, natural);
  DriftingLayer same = layer_of(R"({"kind": "bias"})", 10, natural);
  DriftingLayer other({.half_life = 10, .balancing = balancing(R"({"kind": "bias"})")},
                      {.experts = 16, .top_k = 2}, natural, Random(3), 1);
  for (int step = 0; step < 5; ++step) one.advance(), same.advance(), other.advance();
  CHECK(one.popularity() == same.popularity());
  CHECK(one.popularity() != other.popularity());
}

TEST_CASE("A bias rises by its rate for experts below the mean and falls for those above") {
  const auto bias = balancing(R"({"kind": "bias", "rate": 0.01})");
  std::vector<double> states(4, 0.0);
  const std::vector<double> load{0.4, 0.25, 0.2, 0.15};
  bias->adjust({.popularity = load, .load = load}, states);
  CHECK(states == std::vector<double>{-0.01, 0, 0.01, 0.01});
}

TEST_CASE("Biases that all experts have move nothing") {
  const auto bias = balancing(R"({"kind": "bias"})");
  const std::vector<double> load{0.5, 0.25, 0.25};
  std::vector<double> shifts(3);
  bias->shift(std::vector<double>(3, 0.2), load, shifts);
  for (const double shift : shifts) CHECK(shift == Approx(0).margin(1e-12));
}

// Tokens one by one: logits log(popularity) + Gumbel noise + level, scores their sigmoids, the k best of
// score + bias. The level puts the score of a token's last choice at the threshold.
TEST_CASE("A bias moves loads as it moves the choices of tokens that are drawn one by one") {
  constexpr std::size_t experts = 32;
  constexpr int top_k = 4, tokens = 40'000;
  const std::vector<double> natural = zipf(experts, 0.5);
  std::vector<double> biases(experts);
  for (std::size_t e = 0; e < experts; ++e) biases[e] = 0.12 * std::sin(static_cast<double>(3 * e));
  for (const double threshold : {0.5, 0.8}) {
    RandomStream random = Random(11).stream("tokens");
    std::vector<std::vector<double>> logits(tokens, std::vector<double>(experts));
    double last = 0;
    for (std::vector<double>& token : logits) {
      for (std::size_t e = 0; e < experts; ++e)
        token[e] = std::log(natural[e]) - std::log(-std::log(1 - random.uniform()));
      std::vector<double> sorted = token;
      std::nth_element(sorted.begin(), sorted.begin() + top_k - 1, sorted.end(), std::greater<>());
      last += sorted[top_k - 1] / tokens;
    }
    const double level = std::log(threshold / (1 - threshold)) - last;
    std::vector<double> drawn(experts), unbiased(experts);
    for (const std::vector<double>& token : logits) {
      std::vector<std::pair<double, std::size_t>> by_bias, plain;
      for (std::size_t e = 0; e < experts; ++e) {
        const double score = 1 / (1 + std::exp(-(token[e] + level)));
        by_bias.emplace_back(score + biases[e], e);
        plain.emplace_back(score, e);
      }
      std::partial_sort(by_bias.begin(), by_bias.begin() + top_k, by_bias.end(), std::greater<>());
      std::partial_sort(plain.begin(), plain.begin() + top_k, plain.end(), std::greater<>());
      for (int i = 0; i < top_k; ++i) {
        drawn[by_bias[static_cast<std::size_t>(i)].second] += 1.0 / (tokens * top_k);
        unbiased[plain[static_cast<std::size_t>(i)].second] += 1.0 / (tokens * top_k);
      }
    }
    const auto bias =
        balancing(threshold == 0.5 ? R"({"kind": "bias"})" : R"({"kind": "bias", "threshold": 0.8})");
    std::vector<double> shifts(experts), predicted(experts);
    bias->shift(biases, drawn, shifts);
    for (std::size_t e = 0; e < experts; ++e) predicted[e] = unbiased[e] * std::exp(shifts[e]);
    const double sum = std::accumulate(predicted.begin(), predicted.end(), 0.0);
    for (std::size_t e = 0; e < experts; ++e) {
      INFO("threshold " << threshold << ", expert " << e << ": " << unbiased[e] << " becomes " << drawn[e]);
      CHECK(std::log(predicted[e] / sum / unbiased[e]) ==
            Approx(std::log(drawn[e] / unbiased[e])).margin(0.12));
    }
  }
}

TEST_CASE("The auxiliary loss moves logits against its gradient") {
  const std::vector<double> logits{0.3, -0.2, 0.7, 0.1};
  const std::vector<double> load{0.4, 0.1, 0.3, 0.2};
  const auto loss = [&](const std::vector<double>& at_logits) {
    double sum = 0, product = 0;
    for (const double one : at_logits) sum += std::exp(one);
    for (std::size_t e = 0; e < load.size(); ++e) product += load[e] * std::exp(at_logits[e]) / sum;
    return 4 * product;
  };
  std::vector<double> popularity;
  double sum = 0;
  for (const double one : logits) sum += std::exp(one);
  for (const double one : logits) popularity.push_back(std::exp(one) / sum);
  std::vector<double> states(4, 0.0);
  balancing(R"({"kind": "auxiliary_loss", "rate": 0.5})")
      ->adjust({.popularity = popularity, .load = load}, states);
  for (std::size_t e = 0; e < 4; ++e) {
    constexpr double step = 1e-6;
    std::vector<double> up = logits, down = logits;
    up[e] += step, down[e] -= step;
    CHECK(states[e] == Approx(-0.5 * (loss(up) - loss(down)) / (2 * step)).epsilon(1e-6));
  }
}

TEST_CASE("Balancing evens a popularity that stays, a pull of the task leaves some of it") {
  const std::vector<double> natural = zipf(32, 0.7);
  const auto after = [&](const char* kind, int steps) {
    DriftingLayer layer = layer_of(kind, 0, natural);
    for (int step = 0; step < steps; ++step) layer.advance();
    return max_over_mean(layer.load());
  };
  CHECK(after(R"({"kind": "bias", "rate": 0.001})", 2000) < 1.02);
  CHECK(after(R"({"kind": "auxiliary_loss", "rate": 0.05})", 4000) < 1.02);
  const double pulled = after(R"({"kind": "auxiliary_loss", "rate": 0.05, "pull": 0.05})", 2000);
  CHECK(pulled > 1.2);
  CHECK(pulled < max_over_mean(natural));
}
