// Convolutions of spikes by their events: a spike adds its weights to the outputs around it.
// Images [H, W, C] with channels innermost, square kernels of odd side k, stride 1, output size kept.
// A dense convolution multiplies by every 0; this one costs k * k * C_out additions per spike.

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#ifdef __AVX__
#include <immintrin.h>
#endif

extern "C" struct Map {
    int64_t images, height, width, c_in, c_out, kernel;
};

namespace {

// Bits of up to 64 values: where they are not 0. `odd` gathers where they are neither 0 nor 1.
uint64_t nonzero(const float* x, int64_t n, uint64_t& odd) {
    uint64_t bits = 0;
    int64_t i = 0;
#ifdef __AVX__
    for (; i + 8 <= n; i += 8) {
        const __m256 value = _mm256_loadu_ps(x + i);
        const __m256 zero = _mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_NEQ_UQ);
        const __m256 one = _mm256_cmp_ps(value, _mm256_set1_ps(1.0f), _CMP_EQ_OQ);
        const uint64_t found = static_cast<uint32_t>(_mm256_movemask_ps(zero));
        odd |= found ^ static_cast<uint32_t>(_mm256_movemask_ps(one));
        bits |= found << i;
    }
#endif
    for (; i < n; ++i) {
        bits |= static_cast<uint64_t>(x[i] != 0.0f) << i;
        odd |= (x[i] != 0.0f) != (x[i] == 1.0f);
    }
    return bits;
}

// Length 0: the length is known at run time only.
template <int64_t Length>
inline void add(float* __restrict to, const float* __restrict from, int64_t length) {
    const int64_t n = Length ? Length : length;
    for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

// One image in a frame of zeros, as wide as the kernel reaches over its edge.
struct Frame {
    int64_t reach, width, height, channels;
    std::vector<float> memory;
    float* values;  // starts at a cache line, so that no vector spans two

    explicit Frame(const Map& m)
        : reach(m.kernel / 2),
          width(m.width + 2 * reach),
          height(m.height + 2 * reach),
          channels(m.c_out),
          memory(size() + 16),
          values(memory.data()) {
        while (reinterpret_cast<uintptr_t>(values) % 64) ++values;
    }
    Frame(const Frame&) = delete;

    int64_t size() const { return width * height * channels; }

    float* at(int64_t row, int64_t column) {
        return values + (row * width + column) * channels;
    }
    void clear() { std::fill_n(values, size(), 0.0f); }
    void load(const Map& m, const float* image) {
        for (int64_t h = 0; h < m.height; ++h)
            std::copy_n(image + h * m.width * channels, m.width * channels, at(h + reach, reach));
    }
    void store(const Map& m, float* image) {
        for (int64_t h = 0; h < m.height; ++h)
            std::copy_n(at(h + reach, reach), m.width * channels, image + h * m.width * channels);
    }
};

// Calls f(place in the frame, c_in) for each spike of an image: place is the kernel's first corner.
template <class F>
void for_spikes(const Map& m, Frame& frame, const int32_t* first, const int32_t* last, F f) {
    for (const int32_t* spike = first; spike < last; ++spike) {
        const uint32_t pixel = static_cast<uint32_t>(*spike) / static_cast<uint32_t>(m.c_in);
        const uint32_t row = pixel / static_cast<uint32_t>(m.width);
        f(frame.at(row, pixel - row * m.width), *spike - pixel * m.c_in);
    }
}

template <class F>
void with_length(int64_t length, F f) {  // kernel * c_out
    switch (length) {
        case 48: return f(std::integral_constant<int64_t, 48>{});
        case 96: return f(std::integral_constant<int64_t, 96>{});
        case 192: return f(std::integral_constant<int64_t, 192>{});
        default: return f(std::integral_constant<int64_t, 0>{});
    }
}

}  // namespace

// Places of the spikes in each image, their number after image i in ends[i]. Returns the number of
// spikes, or -1 where there are more than `room` or a value is neither 0 nor 1.
extern "C" int64_t spike_list(const float* x, int64_t images, int64_t size, int32_t* places,
                              int64_t room, int64_t* ends) {
    int64_t found = 0;
    uint64_t odd = 0;
    for (int64_t image = 0; image < images; ++image) {
        for (int64_t at = 0; at < size; at += 64) {
            uint64_t bits = nonzero(x + image * size + at, std::min<int64_t>(64, size - at), odd);
            if (found + 64 > room && found + __builtin_popcountll(bits) > room) return -1;
            for (; bits; bits &= bits - 1)
                places[found++] = static_cast<int32_t>(at + __builtin_ctzll(bits));
        }
        if (odd) return -1;
        ends[image] = found;
    }
    return found;
}

// y [images, H, W, c_out]; weight [c_in, k, k, c_out], turned by 180 degrees.
extern "C" void spike_conv_forward(const Map* map, const int32_t* places, const int64_t* ends,
                                   const float* weight, float* y) {
    const Map& m = *map;
    Frame frame(m);
    const int64_t k = m.kernel, length = k * m.c_out;
    with_length(length, [&](auto fixed) {
        for (int64_t image = 0; image < m.images; ++image) {
            frame.clear();
            const int32_t* first = places + (image ? ends[image - 1] : 0);
            for_spikes(m, frame, first, places + ends[image], [&](float* at, int64_t c) {
                for (int64_t row = 0; row < k; ++row)
                    add<fixed()>(at + row * frame.width * m.c_out,
                                 weight + (c * k + row) * length, length);
            });
            frame.store(m, y + image * m.height * m.width * m.c_out);
        }
    });
}

// Adds to to_weight, whose layout is that of weight.
extern "C" void spike_conv_backward(const Map* map, const int32_t* places, const int64_t* ends,
                                    const float* to_y, float* to_weight) {
    const Map& m = *map;
    Frame frame(m);
    frame.clear();
    const int64_t k = m.kernel, length = k * m.c_out;
    with_length(length, [&](auto fixed) {
        for (int64_t image = 0; image < m.images; ++image) {
            frame.load(m, to_y + image * m.height * m.width * m.c_out);
            const int32_t* first = places + (image ? ends[image - 1] : 0);
            for_spikes(m, frame, first, places + ends[image], [&](float* at, int64_t c) {
                for (int64_t row = 0; row < k; ++row)
                    add<fixed()>(to_weight + (c * k + row) * length,
                                 at + row * frame.width * m.c_out, length);
            });
        }
    });
}
