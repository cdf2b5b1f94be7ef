#include "streaming.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "pieces.hpp"

namespace measure {
namespace {

/// Where each of a token's rows is in the order of experts.
std::vector<int> places(Int tokens, Int experts, Int top_k) {
  std::mt19937 random(7);
  std::vector<std::vector<int>> of_expert(size(experts));
  std::vector<int> order(size(experts));
  std::iota(order.begin(), order.end(), 0);
  for (Int token = 0; token < tokens; ++token) {
    for (Int j = 0; j < top_k; ++j) {
      const auto other = static_cast<std::size_t>(j) + random() % static_cast<std::size_t>(experts - j);
      std::swap(order[size(j)], order[other]);
      of_expert[size(order[size(j)])].push_back(static_cast<int>(token * top_k + j));
    }
  }
  std::vector<int> place(size(tokens * top_k));
  int next = 0;
  for (const std::vector<int>& rows : of_expert)
    for (const int row : rows) place[static_cast<std::size_t>(row)] = next++;
  return place;
}

}  // namespace

struct Streaming::Operands {
  Rotation in, out;
};

Streaming::Operands Streaming::operands(std::initializer_list<std::size_t> reads,
                                        std::initializer_list<std::size_t> writes) const {
  return {Rotation(memory_.inputs, memory_.cache, reads), Rotation(memory_.outputs, memory_.cache, writes)};
}

Streaming::Streaming(const Shape& shape, const StreamingMemory& memory)
    : memory_(memory),
      rows_(shape.row_count),
      width_(shape.width),
      experts_(shape.experts),
      top_k_(std::max<Int>(1, shape.top_k)),
      forward_(shape.pass == "forward"),
      bytes_(size(rows_ * (shape.op == "router" ? experts_ : width_)) * 2) {
  const std::string& op = shape.op;
  if (op == "permute" || op == "unpermute")
    call_ = permutation(op == "permute");
  else
    call_ = op == "rms_norm"   ? norm()
            : op == "swiglu"   ? activation()
            : op == "router"   ? routing()
            : op == "fp8_cast" ? cast()
            : op == "rotary"   ? embedding()
                               : sum();
}

Streaming::Call Streaming::norm() {
  const Operands o = operands({bytes_, bytes_}, {bytes_});
  const Half* weight = memory_.weights.get<Half>();
  if (forward_) {
    return [this, o, weight](int i) {
      rms_norm(o.in.at<Half>(i, 0), weight, o.out.at<Half>(i, 0), rows_, width_, memory_.stream);
    };
  }
  extra_ = Buffer(size(width_) * 4);
  check(cudaMemset(extra_.get(), 0, extra_.size()), "cudaMemset");
  return [this, o, weight](int i) {
    rms_norm_backward(o.in.at<Half>(i, 0), o.in.at<Half>(i, 1), weight, o.out.at<Half>(i, 0),
                      extra_.get<float>(), rows_, width_, memory_.stream);
  };
}

Streaming::Call Streaming::activation() const {
  const Operands o = operands({2 * bytes_, bytes_}, {forward_ ? bytes_ : 2 * bytes_});
  if (forward_) {
    return [this, o](int i) {
      swiglu(o.in.at<Half>(i, 0), o.out.at<Half>(i, 0), rows_, width_, memory_.stream);
    };
  }
  return [this, o](int i) {
    swiglu_backward(o.in.at<Half>(i, 1), o.in.at<Half>(i, 0), o.out.at<Half>(i, 0), rows_, width_,
                    memory_.stream);
  };
}

Streaming::Call Streaming::routing() const {
  const std::size_t chosen = size(rows_ * top_k_) * 4;
  const Operands o = operands({bytes_, chosen}, {2 * bytes_, chosen, chosen, bytes_});
  const auto choose = [this, o](int i) {
    router(o.in.at<Half>(i, 0), o.out.at<float>(i, 0), o.out.at<float>(i, 1), o.out.at<int>(i, 2), rows_,
           experts_, top_k_, memory_.stream);
  };
  if (forward_) return choose;
  for (int i = 0; i < o.out.sets(); ++i) choose(i);  // what the forward pass leaves
  return [this, o](int i) {
    router_backward(o.out.at<float>(i, 0), o.out.at<float>(i, 1), o.out.at<int>(i, 2), o.in.at<float>(i, 1),
                    o.out.at<Half>(i, 3), rows_, experts_, top_k_, memory_.stream);
  };
}

Streaming::Call Streaming::permutation(bool apart) {
  const Int tokens = rows_ / top_k_;
  extra_ = uploaded(places(tokens, 64, top_k_));
  if (apart) {
    const Operands o = operands({bytes_ / size(top_k_)}, {bytes_});
    return [this, o, tokens](int i) {
      permute(o.in.at<Half>(i, 0), extra_.get<int>(), o.out.at<Half>(i, 0), tokens, width_, top_k_,
              memory_.stream);
    };
  }
  const Operands o = operands({bytes_, size(rows_) * 4}, {bytes_ / size(top_k_)});
  return [this, o, tokens](int i) {
    unpermute(o.in.at<Half>(i, 0), extra_.get<int>(), o.in.at<float>(i, 1), o.out.at<Half>(i, 0), tokens,
              width_, top_k_, memory_.stream);
  };
}

Streaming::Call Streaming::cast() const {
  const Operands o = operands({bytes_}, {bytes_ / 2, bytes_ / 64});
  return [this, o](int i) {
    fp8_cast(o.in.at<Half>(i, 0), o.out.at<std::uint8_t>(i, 0), o.out.at<float>(i, 1), rows_, width_,
             memory_.stream);
  };
}

Streaming::Call Streaming::embedding() const {
  const Operands o = operands({bytes_}, {bytes_});
  return [this, o](int i) {
    rotary(o.in.at<Half>(i, 0), o.out.at<Half>(i, 0), rows_, width_, 128, memory_.stream);
  };
}

Streaming::Call Streaming::sum() const {
  const Operands o = operands({bytes_, bytes_}, {bytes_});
  return [this, o](int i) {
    residual(o.in.at<Half>(i, 0), o.in.at<Half>(i, 1), o.out.at<Half>(i, 0), rows_, width_, memory_.stream);
  };
}

}  // namespace measure
