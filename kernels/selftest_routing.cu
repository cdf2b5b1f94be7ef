#include <algorithm>
#include <cmath>

#include "pieces.hpp"
#include "selftest_support.hpp"

namespace measure::selftest {
void test_routing() {
  for (const Int experts : {Int{8}, Int{16}, Int{32}, Int{60}, Int{128}, Int{256}, Int{512}}) {
    const Int tokens = 29, k = experts == 8 ? 2 : 8, width = 256;
    const Random logits = random(tokens * experts);
    const Buffer p = poisoned(tokens * experts * 4), w = poisoned(tokens * k * 4),
                 c = poisoned(tokens * k * 4), back = poisoned(tokens * experts * 2);
    router(logits.device.get<Half>(), p.get<float>(), w.get<float>(), c.get<int>(), tokens, experts, k,
           stream());
    Numbers probabilities, weights, slopes;
    const std::vector<int> chosen = read<int>(c.get(), size(tokens * k));
    bool ordered = true;
    for (Int t = 0; t < tokens; ++t) {
      double total = 0;
      for (Int e = 0; e < experts; ++e) total += std::exp(logits.host[size(t * experts + e)]);
      Numbers own;
      for (Int e = 0; e < experts; ++e) own.push_back(std::exp(logits.host[size(t * experts + e)]) / total);
      probabilities.insert(probabilities.end(), own.begin(), own.end());
      Numbers sorted = own;
      std::sort(sorted.rbegin(), sorted.rend());
      weights.insert(weights.end(), sorted.begin(), sorted.begin() + k);
      double dot = 0;
      Numbers gradient(size(experts));
      for (Int j = 0; j < k; ++j) {
        const int e = chosen[size(t * k + j)];
        ordered = ordered && e >= 0 && e < experts;
        if (!ordered) break;
        gradient[static_cast<std::size_t>(e)] = sorted[size(j)];
        dot += own[static_cast<std::size_t>(e)] * sorted[size(j)];
        ordered = ordered && std::abs(own[static_cast<std::size_t>(e)] - sorted[size(j)]) < 1e-5;
      }
      for (Int e = 0; e < experts; ++e) slopes.push_back(own[size(e)] * (gradient[size(e)] - dot));
    }
    const std::string name = "router over " + std::to_string(experts);
    compare(name, read_float(p.get(), probabilities.size()), probabilities, 1e-4);
    compare(name + ", weights", read_float(w.get(), weights.size()), weights, 1e-4);
    compare(name + ", choices", {ordered ? 1.0 : 0.0}, {1.0}, 1e-9);
    router_backward(p.get<float>(), w.get<float>(), c.get<int>(), back.get<Half>(), tokens, experts, k,
                    stream());
    compare(name + " backward", read_bf16(back.get(), slopes.size()), slopes, 1e-2);
    // Rows go out and come back: the sum over a token's rows with its weights is its row times their sum.
    const Random rows = random(tokens * width);
    std::vector<int> source, place;
    for (Int i = 0; i < tokens * k; ++i) place.push_back(static_cast<int>((i * 5 + 3) % (tokens * k)));
    source.resize(place.size());
    bool distinct = tokens * k % 5 != 0;
    for (std::size_t i = 0; i < place.size(); ++i)
      source[static_cast<std::size_t>(place[i])] = static_cast<int>(i / size(k));
    const Buffer ds(source.size() * 4), dp(place.size() * 4), there = poisoned(tokens * k * width * 2),
                                                              home = poisoned(tokens * width * 2);
    check(cudaMemcpy(ds.get(), source.data(), ds.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
    check(cudaMemcpy(dp.get(), place.data(), dp.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
    permute(rows.device.get<Half>(), ds.get<int>(), there.get<Half>(), tokens * k, width, stream());
    unpermute(there.get<Half>(), dp.get<int>(), w.get<float>(), home.get<Half>(), tokens, width, k, stream());
    Numbers moved, summed;
    for (const int from : source)
      for (Int i = 0; i < width; ++i)
        moved.push_back(rows.host[static_cast<std::size_t>(from) * size(width) + size(i)]);
    for (Int t = 0; t < tokens; ++t) {
      double total = 0;
      for (Int j = 0; j < k; ++j) total += weights[size(t * k + j)];
      for (Int i = 0; i < width; ++i) summed.push_back(total * rows.host[size(t * width + i)]);
    }
    if (distinct)
      compare("permute of " + std::to_string(k), read_bf16(there.get(), moved.size()), moved, 1e-9);
    if (distinct)
      compare("unpermute of " + std::to_string(k), read_bf16(home.get(), summed.size()), summed, 1e-2);
  }
}

}  // namespace measure::selftest
