// All time steps of a layer of LIF neurons in one pass over memory.
// T time steps, N neurons (batch, channels and pixels in whatever order they lie in memory).
// Plain C entry points; tensors are fp32 or bf16, the potential is always fp32.

#include "neuron.h"

namespace {

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

}  // namespace

// current: [T, N] with `stride` elements between steps (0: the same at all steps); spikes: [T, N].
extern "C" void lif_forward(const Neuron* neuron, int32_t bf16, const void* current, int64_t stride,
                            void* spikes, int64_t T, int64_t N) {
    with_type(bf16, [&](auto e) {
        using E = decltype(e);
        with_reset(*neuron, [&](auto rule) {
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
