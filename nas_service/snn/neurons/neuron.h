// The neuron's equations, and the types of tensors, for scan.cpp and norm.cpp.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

extern "C" struct Neuron {  // as nas_service/snn/neurons/native.py fills it
    float rate, threshold;
    int32_t atan, hard, detach, at_threshold;
};

extern "C" struct Shape {  // [T * batch, channels, pixels], pixels or channels innermost
    int64_t T, batch, channels, pixels;
    int32_t channels_last, constant;  // constant: [batch, ...], the same at all T steps
};

namespace {

struct Bf16 {
    uint16_t bits;
};

inline float widen(float x) { return x; }

inline float widen(Bf16 x) {
    const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

inline void narrow(float x, float& out) { out = x; }

inline void narrow(float x, Bf16& out) {  // to the nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    out.bits = static_cast<uint16_t>(x != x ? 0x7fc0u : rounded);
}

// The neuron's equations. `edge` is the largest potential that does not fire.
template <bool Atan, bool Hard>
struct Rule {
    float rate, threshold, edge, attached;  // attached: 1 where the reset is in the graph, else 0

    float charge(float v, float x) const { return v + rate * (x - v); }
    float spike(float u) const { return u > edge ? 1.0f : 0.0f; }
    float reset(float u) const {
        if (Hard) return u > edge ? 0.0f : u;
        return u > edge ? u - threshold : u;
    }
    float surrogate(float u) const {
        const float distance = u - threshold;
        if (!Atan) return std::max(0.0f, 1.0f - std::fabs(distance));
        const float angle = 3.14159265358979f * distance;
        return 1.0f / (1.0f + angle * angle);
    }
    // dL/du from dL/dz and dL/dv, v being u after its reset.
    float to_potential(float u, float to_spike, float to_v) const {
        const float kept = Hard && u > edge ? 0.0f : to_v;
        to_spike -= attached * to_v * (Hard ? u : threshold);
        return kept + to_spike * surrogate(u);
    }
};

inline float largest_silent(const Neuron& n) {
    return n.at_threshold ? std::nextafterf(n.threshold, -INFINITY) : n.threshold;
}

template <class F>
void with_rule(const Neuron& n, F f) {
    const float edge = largest_silent(n);
    const float attached = n.detach ? 0.0f : 1.0f;
    if (n.atan && n.hard) return f(Rule<true, true>{n.rate, n.threshold, edge, attached});
    if (n.atan) return f(Rule<true, false>{n.rate, n.threshold, edge, attached});
    if (n.hard) return f(Rule<false, true>{n.rate, n.threshold, edge, attached});
    return f(Rule<false, false>{n.rate, n.threshold, edge, attached});
}

template <class F>
void with_reset(const Neuron& n, F f) {  // forward has no surrogate: half the code
    const float edge = largest_silent(n);
    if (n.hard) return f(Rule<false, true>{n.rate, n.threshold, edge, 0});
    return f(Rule<false, false>{n.rate, n.threshold, edge, 0});
}

// Neurons that are computed together, so that all their steps fit into the first-level cache.
inline int64_t chunk_size(int64_t T) { return std::clamp<int64_t>(4096 / T / 16 * 16, 64, 1024); }

template <class F>
void with_type(int32_t bf16, F f) {
    bf16 ? f(Bf16{}) : f(float{});
}

}  // namespace
