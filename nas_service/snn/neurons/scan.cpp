// All time steps of a layer of LIF neurons in one pass over memory.
// T time steps, N neurons (batch, channels and pixels in whatever order they lie in memory).
// Plain C entry points; tensors are fp32 or bf16, the potential is always fp32.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" struct Neuron {  // as nas_service/snn/neurons/native.py fills it
    float rate, threshold;
    int32_t atan, hard, detach, at_threshold;
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
template <bool Atan, bool Hard, bool Detach>
struct Rule {
    float rate, threshold, edge;

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
    // dL/du from dL/dz and dL/dv, v being what the reset leaves of u.
    float to_potential(float u, float to_spike, float to_v) const {
        const float kept = Hard && u > edge ? 0.0f : to_v;
        if (!Detach) to_spike -= to_v * (Hard ? u : threshold);
        return kept + to_spike * surrogate(u);
    }
};

template <bool Atan, bool Hard, class F>
void with_detach(const Neuron& n, F f) {
    const float edge = n.at_threshold ? std::nextafterf(n.threshold, -INFINITY) : n.threshold;
    if (n.detach) return f(Rule<Atan, Hard, true>{n.rate, n.threshold, edge});
    return f(Rule<Atan, Hard, false>{n.rate, n.threshold, edge});
}

template <class F>
void with_rule(const Neuron& n, F f) {
    if (n.atan) return n.hard ? with_detach<true, true>(n, f) : with_detach<true, false>(n, f);
    return n.hard ? with_detach<false, true>(n, f) : with_detach<false, false>(n, f);
}

// Neurons taken together, so that all their steps lie in the first-level cache.
int64_t chunk_size(int64_t T) { return std::clamp<int64_t>(4096 / T / 16 * 16, 64, 1024); }

template <class E, class R>
void forward(R rule, const E* current, int64_t stride, E* spikes, int64_t T, int64_t N) {
    const int64_t size = chunk_size(T);
    std::vector<float> state(size);
    for (int64_t first = 0; first < N; first += size) {
        const int64_t n = std::min(size, N - first);
        float* __restrict v = state.data();
        std::fill_n(v, n, 0.0f);
        for (int64_t t = 0; t < T; ++t) {
            const E* __restrict x = current + t * stride + first;
            E* __restrict z = spikes + t * N + first;
            for (int64_t i = 0; i < n; ++i) {
                const float u = rule.charge(v[i], widen(x[i]));
                narrow(rule.spike(u), z[i]);
                v[i] = rule.reset(u);
            }
        }
    }
}

// The potentials [T, n] of n neurons again, from their currents.
template <class E, class R>
void recharge(R rule, const E* current, int64_t stride, float* potential, float* v, int64_t T,
              int64_t n) {
    std::fill_n(v, n, 0.0f);
    for (int64_t t = 0; t < T; ++t) {
        const E* __restrict x = current + t * stride;
        float* __restrict u = potential + t * n;
        float* __restrict w = v;
        for (int64_t i = 0; i < n; ++i) {
            u[i] = rule.charge(w[i], widen(x[i]));
            w[i] = rule.reset(u[i]);
        }
    }
}

// A current that is the same at all steps (stride 0) has the sum of their gradients.
template <class E, class R>
void backward(R rule, const E* current, int64_t stride, const E* to_spikes, E* to_current,
              int64_t T, int64_t N) {
    const int64_t size = chunk_size(T);
    std::vector<float> potential(T * size), state(size), sum(size);
    for (int64_t first = 0; first < N; first += size) {
        const int64_t n = std::min(size, N - first);
        recharge(rule, current + first, stride, potential.data(), state.data(), T, n);
        float* __restrict to_v = state.data();
        float* __restrict total = sum.data();
        std::fill_n(to_v, n, 0.0f);
        std::fill_n(total, n, 0.0f);
        for (int64_t t = T - 1; t >= 0; --t) {
            const E* __restrict g = to_spikes + t * N + first;
            E* __restrict to_x = to_current + t * stride + first;
            const float* __restrict u = potential.data() + t * n;
            if (stride) {
                for (int64_t i = 0; i < n; ++i) {
                    const float to_u = rule.to_potential(u[i], widen(g[i]), to_v[i]);
                    narrow(rule.rate * to_u, to_x[i]);
                    to_v[i] = to_u - rule.rate * to_u;
                }
            } else {
                for (int64_t i = 0; i < n; ++i) {
                    const float to_u = rule.to_potential(u[i], widen(g[i]), to_v[i]);
                    total[i] += rule.rate * to_u;
                    to_v[i] = to_u - rule.rate * to_u;
                }
            }
        }
        if (!stride)
            for (int64_t i = 0; i < n; ++i) narrow(total[i], to_current[first + i]);
    }
}

template <class F>
void with_type(int32_t bf16, F f) {
    bf16 ? f(Bf16{}) : f(float{});
}

}  // namespace

// current: [T, N] with `stride` elements between steps (0: the same at all steps); spikes: [T, N].
extern "C" void lif_forward(const Neuron* neuron, int32_t bf16, const void* current, int64_t stride,
                            void* spikes, int64_t T, int64_t N) {
    with_type(bf16, [&](auto e) {
        using E = decltype(e);
        with_rule(*neuron, [&](auto rule) {
            forward(rule, static_cast<const E*>(current), stride, static_cast<E*>(spikes), T, N);
        });
    });
}

// to_current: [T, N], or [N] where stride is 0.
extern "C" void lif_backward(const Neuron* neuron, int32_t bf16, const void* current,
                             int64_t stride, const void* to_spikes, void* to_current, int64_t T,
                             int64_t N) {
    with_type(bf16, [&](auto e) {
        using E = decltype(e);
        with_rule(*neuron, [&](auto rule) {
            backward(rule, static_cast<const E*>(current), stride,
                     static_cast<const E*>(to_spikes), static_cast<E*>(to_current), T, N);
        });
    });
}
