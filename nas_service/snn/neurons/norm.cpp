// Batch norm and the neurons after it in one pass over memory. T time steps, C channels.
// Tensors are fp32 or bf16; statistics and potentials are fp32 or wider.

#include "neuron.h"

namespace {

// Values of channels, repeated in the memory order of a block of neurons, and sums over a block.
class PerChannel {
  public:
    PerChannel(const Shape& s, int64_t size) : shape(s), values(size, 0.0f) {}
    float* data() { return values.data(); }

    void spread(const float* of_channel, int64_t channel, int64_t n) {
        if (!shape.channels_last) return void(std::fill_n(data(), n, of_channel[channel]));
        for (int64_t i = 0; i < n; i += shape.channels)
            std::copy_n(of_channel, shape.channels, data() + i);
    }
    void collect(double* of_channel, int64_t channel, int64_t n) {
        if (shape.channels_last)
            for (int64_t i = 0; i < n; i += shape.channels)
                for (int64_t c = 0; c < shape.channels; ++c) of_channel[c] += values[i + c];
        else
            of_channel[channel] += total(n);
        std::fill_n(data(), n, 0.0f);
    }

  private:
    double total(int64_t n) const {  // in lanes, as one sum waits for itself
        double lanes[16] = {};
        int64_t i = 0;
        for (; i + 16 <= n; i += 16)
            for (int64_t k = 0; k < 16; ++k) lanes[k] += values[i + k];
        for (; i < n; ++i) lanes[0] += values[i];
        return std::accumulate(lanes, lanes + 16, 0.0);
    }

    const Shape& shape;
    std::vector<float> values;
};

// Blocks of at most `size` neurons of `images` images: f(first, n, channel, last of its sum).
// A block is whole pixels where channels are innermost, else a piece of one channel's plane.
int64_t block_size(const Shape& s, int64_t size) {
    return s.channels_last ? s.channels * std::max<int64_t>(1, size / s.channels) : size;
}

template <class F>
void for_blocks(const Shape& s, int64_t images, int64_t size, F f) {
    const int64_t length = s.channels_last ? images * s.pixels * s.channels : s.pixels;
    const int64_t rows = s.channels_last ? 1 : images * s.channels;
    const int64_t sums = 64;  // blocks whose fp32 sums are taken together
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t at = 0, k = 1; at < length; at += size, ++k) {
            const bool last = k % sums == 0 || at + size >= length;
            f(row * length + at, std::min(size, length - at), row % s.channels, last);
        }
}

int64_t samples(const Shape& s) { return (s.constant ? 1 : s.T) * s.batch * s.pixels; }

// Mean and variance of each channel, taken around its first value against cancellation.
template <class E>
void moments(const Shape& s, const E* y, double* mean, double* variance) {
    const int64_t C = s.channels, size = block_size(s, 1024);
    const int64_t images = samples(s) / s.pixels;
    PerChannel origin(s, size), sum(s, size), square(s, size);
    std::vector<float> first(C);
    for (int64_t c = 0; c < C; ++c) first[c] = widen(y[s.channels_last ? c : c * s.pixels]);
    std::fill_n(mean, C, 0.0);
    std::fill_n(variance, C, 0.0);
    if (s.channels_last) origin.spread(first.data(), 0, size);
    for_blocks(s, images, size, [&](int64_t at, int64_t n, int64_t channel, bool last) {
        if (!s.channels_last) origin.spread(first.data(), channel, n);
        const E* __restrict x = y + at;
        const float* __restrict o = origin.data();
        float* __restrict a = sum.data();
        float* __restrict b = square.data();
        for (int64_t i = 0; i < n; ++i) {
            const float d = widen(x[i]) - o[i];
            a[i] += d;
            b[i] += d * d;
        }
        if (!last) return;
        const int64_t filled = std::min(size, s.channels_last ? size : s.pixels);
        sum.collect(mean, channel, filled);
        square.collect(variance, channel, filled);
    });
    const double count = static_cast<double>(samples(s));
    for (int64_t c = 0; c < C; ++c) {
        const double shift = mean[c] / count;
        const double computed = variance[c] / count - shift * shift;
        variance[c] = computed < 0 ? 0 : computed;  // NaN stays NaN
        mean[c] = first[c] + shift;
    }
}

// Batch norm as x = y * scale + shift.
template <class E, class R>
void norm_forward(R rule, const Shape& s, const E* y, const float* scale, const float* shift,
                  E* spikes) {
    const int64_t size = block_size(s, 1024), N = s.batch * s.channels * s.pixels;
    PerChannel scales(s, size), shifts(s, size);
    std::vector<float> state(size);
    if (s.channels_last) scales.spread(scale, 0, size), shifts.spread(shift, 0, size);
    for_blocks(s, s.batch, size, [&](int64_t at, int64_t n, int64_t channel, bool) {
        if (!s.channels_last) scales.spread(scale, channel, n), shifts.spread(shift, channel, n);
        const float* __restrict a = scales.data();
        const float* __restrict b = shifts.data();
        float* __restrict v = state.data();
        std::fill_n(v, n, 0.0f);
        for (int64_t t = 0; t < s.T; ++t) {
            const E* __restrict x = y + (s.constant ? 0 : t * N) + at;
            E* __restrict z = spikes + t * N + at;
            for (int64_t i = 0; i < n; ++i) {
                const float u = rule.charge(v[i], widen(x[i]) * a[i] + b[i]);
                narrow(rule.spike(u), z[i]);
                v[i] = rule.reset(u);
            }
        }
    });
}

struct Sums {  // over all samples of a channel: of dL/dx and of dL/dx * (y - mean)
    std::vector<double> gradient, product;
    explicit Sums(int64_t C) : gradient(C, 0.0), product(C, 0.0) {}
};

// dL/dx, the gradient of the batch norm's output, and its sums.
template <class E, class R>
Sums norm_backward(R rule, const Shape& s, const E* y, const float* scale, const float* shift,
                   const float* mean, const E* to_spikes, E* to_x) {
    const int64_t size = block_size(s, chunk_size(s.T)), N = s.batch * s.channels * s.pixels;
    PerChannel scales(s, size), shifts(s, size), means(s, size), sum(s, size), product(s, size);
    std::vector<float> potential(s.T * size), state(size), total(size);
    Sums sums(s.channels);
    const auto spread = [&](int64_t channel, int64_t n) {
        scales.spread(scale, channel, n);
        shifts.spread(shift, channel, n);
        means.spread(mean, channel, n);
    };
    if (s.channels_last) spread(0, size);
    for_blocks(s, s.batch, size, [&](int64_t at, int64_t n, int64_t channel, bool last) {
        if (!s.channels_last) spread(channel, n);
        const float* __restrict a = scales.data();
        const float* __restrict b = shifts.data();
        const float* __restrict m = means.data();
        float* __restrict p = sum.data();
        float* __restrict q = product.data();
        float* __restrict v = state.data();
        float* __restrict all = total.data();
        std::fill_n(v, n, 0.0f);
        for (int64_t t = 0; t < s.T; ++t) {
            const E* __restrict x = y + (s.constant ? 0 : t * N) + at;
            float* __restrict u = potential.data() + t * n;
            for (int64_t i = 0; i < n; ++i) {
                u[i] = rule.charge(v[i], widen(x[i]) * a[i] + b[i]);
                v[i] = rule.reset(u[i]);
            }
        }
        std::fill_n(v, n, 0.0f);
        if (s.constant) std::fill_n(all, n, 0.0f);
        for (int64_t t = s.T - 1; t >= 0; --t) {
            const E* __restrict x = y + (s.constant ? 0 : t * N) + at;
            const E* __restrict g = to_spikes + t * N + at;
            E* __restrict out = to_x + (s.constant ? 0 : t * N) + at;
            const float* __restrict u = potential.data() + t * n;
            if (s.constant) {
                for (int64_t i = 0; i < n; ++i) {
                    const float to_u = rule.to_potential(u[i], widen(g[i]), v[i]);
                    v[i] = to_u - rule.rate * to_u;
                    all[i] += rule.rate * to_u;
                }
            } else {
                for (int64_t i = 0; i < n; ++i) {
                    const float to_u = rule.to_potential(u[i], widen(g[i]), v[i]);
                    v[i] = to_u - rule.rate * to_u;
                    const float d = rule.rate * to_u;
                    narrow(d, out[i]);
                    p[i] += d;
                    q[i] += d * (widen(x[i]) - m[i]);
                }
            }
        }
        if (s.constant)
            for (int64_t i = 0; i < n; ++i) {
                narrow(all[i], to_x[at + i]);
                p[i] += all[i];
                q[i] += all[i] * (widen(y[at + i]) - m[i]);
            }
        if (!last) return;
        const int64_t filled = std::min(size, s.channels_last ? size : s.pixels);
        sum.collect(sums.gradient.data(), channel, filled);
        product.collect(sums.product.data(), channel, filled);
    });
    return sums;
}

// In place dL/dx to dL/dy = a dL/dx + b y + c, values per channel.
template <class E>
void combine(const Shape& s, const E* y, E* gradient, const float* a, const float* b,
             const float* c) {
    const int64_t size = block_size(s, 1024);
    PerChannel as(s, size), bs(s, size), cs(s, size);
    const auto spread = [&](int64_t channel, int64_t n) {
        as.spread(a, channel, n);
        bs.spread(b, channel, n);
        cs.spread(c, channel, n);
    };
    if (s.channels_last) spread(0, size);
    const int64_t images = samples(s) / s.pixels;
    for_blocks(s, images, size, [&](int64_t at, int64_t n, int64_t channel, bool) {
        if (!s.channels_last) spread(channel, n);
        const E* __restrict x = y + at;
        E* __restrict g = gradient + at;
        const float* __restrict ai = as.data();
        const float* __restrict bi = bs.data();
        const float* __restrict ci = cs.data();
        for (int64_t i = 0; i < n; ++i)
            narrow(ai[i] * widen(g[i]) + (bi[i] * widen(x[i]) + ci[i]), g[i]);
    });
}

}  // namespace

// Batch norm over all samples of y, then the scan. In training `mean` and `inverse_deviation` are
// those of the batch, else they are inputs. Its unbiased variance is written to `variance`.
extern "C" void norm_lif_forward(const Neuron* neuron, const Shape* shape, int32_t bf16,
                                 int32_t training, double epsilon, const void* y,
                                 const float* weight, const float* bias, float* mean,
                                 float* inverse_deviation, float* variance, void* spikes) {
    const int64_t C = shape->channels;
    with_type(bf16, [&](auto e) {
        using E = decltype(e);
        if (training) {
            std::vector<double> m(C), var(C);
            moments(*shape, static_cast<const E*>(y), m.data(), var.data());
            const double count = static_cast<double>(samples(*shape));
            for (int64_t c = 0; c < C; ++c) {
                mean[c] = static_cast<float>(m[c]);
                inverse_deviation[c] = static_cast<float>(1.0 / std::sqrt(var[c] + epsilon));
                variance[c] = static_cast<float>(var[c] * count / (count - 1));
            }
        }
        std::vector<float> scale(C), shift(C);
        for (int64_t c = 0; c < C; ++c) {
            scale[c] = inverse_deviation[c] * weight[c];
            shift[c] = bias[c] - mean[c] * scale[c];
        }
        with_reset(*neuron, [&](auto rule) {
            norm_forward(rule, *shape, static_cast<const E*>(y), scale.data(), shift.data(),
                         static_cast<E*>(spikes));
        });
    });
}

extern "C" void norm_lif_backward(const Neuron* neuron, const Shape* shape, int32_t bf16,
                                  int32_t training, const void* y, const float* weight,
                                  const float* bias, const float* mean,
                                  const float* inverse_deviation, const void* to_spikes,
                                  void* to_y, float* to_weight, float* to_bias) {
    const int64_t C = shape->channels;
    std::vector<float> scale(C), shift(C), slope(C, 0.0f), offset(C, 0.0f);
    for (int64_t c = 0; c < C; ++c) {
        scale[c] = inverse_deviation[c] * weight[c];
        shift[c] = bias[c] - mean[c] * scale[c];
    }
    with_type(bf16, [&](auto e) {
        using E = decltype(e);
        const E* input = static_cast<const E*>(y);
        E* gradient = static_cast<E*>(to_y);
        Sums sums(0);
        with_rule(*neuron, [&](auto rule) {
            sums = norm_backward(rule, *shape, input, scale.data(), shift.data(), mean,
                                 static_cast<const E*>(to_spikes), gradient);
        });
        const double count = static_cast<double>(samples(*shape));
        for (int64_t c = 0; c < C; ++c) {
            const double inverse = inverse_deviation[c];
            to_weight[c] = static_cast<float>(sums.product[c] * inverse);
            to_bias[c] = static_cast<float>(sums.gradient[c]);
            if (!training) continue;
            const double b = -scale[c] * inverse * inverse * sums.product[c] / count;
            slope[c] = static_cast<float>(b);
            offset[c] = static_cast<float>(-scale[c] * sums.gradient[c] / count - b * mean[c]);
        }
        combine(*shape, input, gradient, scale.data(), slope.data(), offset.data());
    });
}
