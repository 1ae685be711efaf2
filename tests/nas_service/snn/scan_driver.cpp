// Runs the C++ sources over odd sizes, in memory that ends where the tensors end, for a sanitizer
// to watch. With the argument `short` one tensor is one value too small, which a sanitizer must find.

#include "norm.cpp"
#include "scan.cpp"
#include "spike_conv.cpp"

#include <cstdio>
#include <random>

namespace {

std::mt19937 noise(1);

void fill(std::vector<float>& x) {
    std::normal_distribution<float> normal(0.5f, 1.5f);
    for (float& value : x) value = normal(noise);
}

void fill(std::vector<Bf16>& x) {
    std::vector<float> wide(x.size());
    fill(wide);
    for (size_t i = 0; i < x.size(); ++i) narrow(wide[i], x[i]);
}

template <class E>
double mean(const std::vector<E>& x) {
    double sum = 0;
    for (E value : x) sum += widen(value);
    return sum / static_cast<double>(x.size());
}

int runs = 0, convolutions = 0;
double fired = 0;

template <class E>
void run(const Neuron& neuron, const Shape& s, int64_t missing) {
    const int32_t bf16 = sizeof(E) == 2;
    const size_t C = s.channels, N = s.batch * C * s.pixels, steps = s.constant ? 1 : s.T;
    std::vector<E> x(steps * N), spikes(s.T * N - missing), to_spikes(s.T * N), to_x(steps * N);
    fill(x), fill(to_spikes);
    const int64_t stride = s.constant ? 0 : N;
    lif_forward(&neuron, bf16, x.data(), stride, spikes.data(), s.T, N);
    lif_backward(&neuron, bf16, x.data(), stride, to_spikes.data(), to_x.data(), s.T, N);
    std::vector<float> weight(C, 1), bias(C, 0.5f), m(C), inverse(C), variance(C), dw(C), db(C);
    for (int32_t training : {1, 0}) {
        norm_lif_forward(&neuron, &s, bf16, training, 1e-5, x.data(), weight.data(), bias.data(),
                         m.data(), inverse.data(), variance.data(), spikes.data());
        norm_lif_backward(&neuron, &s, bf16, training, x.data(), weight.data(), bias.data(),
                          m.data(), inverse.data(), to_spikes.data(), to_x.data(), dw.data(),
                          db.data());
    }
    fired += mean(spikes);
    ++runs;
}

void convolve(const Map& m, float rate) {
    const int64_t size = m.height * m.width * m.c_in, out = m.height * m.width * m.c_out;
    std::bernoulli_distribution spike(rate);
    std::vector<float> x(m.images * size), y(m.images * out);
    std::vector<float> weight(m.c_in * m.kernel * m.kernel * m.c_out);
    std::vector<float> to_weight(weight.size());
    for (float& value : x) value = spike(noise) ? 1.0f : 0.0f;
    fill(weight);
    const int64_t spikes = std::count(x.begin(), x.end(), 1.0f);
    std::vector<int32_t> places(spikes);
    std::vector<int64_t> ends(m.images);
    const auto listed = [&](int64_t room) {
        return spike_list(x.data(), m.images, size, places.data(), room, ends.data());
    };
    if ((spikes && listed(spikes - 1) != -1) || listed(spikes) != spikes) std::abort();
    spike_conv_forward(&m, places.data(), ends.data(), weight.data(), y.data());
    spike_conv_backward(&m, places.data(), ends.data(), y.data(), to_weight.data());
    ++convolutions;
}

}  // namespace

int main(int arguments, char**) {
    const int64_t missing = arguments > 1 ? 1 : 0;
    for (int32_t kind : {0, 5, 10, 15}) {
        const Neuron neuron{0.75f, 1.0f, kind & 1, kind >> 1 & 1, kind >> 2 & 1, kind >> 3 & 1};
        for (int64_t T : {5, 1, 2, 70})
            for (int64_t batch : {1, 3})
                for (int64_t channels : {1, 5, 16, 1031})
                    for (int64_t pixels : {1, 49, 1025})
                        for (int32_t last : {0, 1})
                            for (int32_t constant : {0, 1}) {
                                if (T * batch * channels * pixels > 40000) continue;
                                const Shape s{T, batch, channels, pixels, last, constant};
                                run<float>(neuron, s, missing);
                                run<Bf16>(neuron, s, missing);
                            }
    }
    for (int64_t kernel : {1, 3, 5})
        for (int64_t c_in : {1, 7, 16, 65})
            for (int64_t c_out : {1, 8, 16, 64})
                for (int64_t width : {1, 4, 5})
                    for (float rate : {0.0f, 0.1f, 1.0f})
                        convolve({2, 3, width, c_in, c_out, kernel}, rate);
    std::printf("%d runs, firing rate %.2f\n", runs, fired / runs);
    std::printf("%d convolutions\n", convolutions);
    return 0;
}
