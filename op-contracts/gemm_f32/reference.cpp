// The fp64 oracle of gemm_f32 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr double ulps = 16.0;
constexpr double roundoff = 0x1p-24;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;

// How many roundings of the size of the sum of magnitudes a sum of k products may cost, in units of 16.
double growth(int64_t k) { return 1.0 + std::sqrt(static_cast<double>(k)) / 4.0; }

// A fixed sequence of signs that no candidate can know to be aimed at; the inputs are secret anyway.
double sign(int64_t index) {
    uint64_t word = static_cast<uint64_t>(index) * 0x9E3779B97F4A7C15ULL + 0xD1B54A32D192ED03ULL;
    word ^= word >> 29;
    word *= 0xBF58476D1CE4E5B9ULL;
    word ^= word >> 32;
    return (word & 1) != 0 ? 1.0 : -1.0;
}

}  // namespace

extern "C" void reference(const float* a, const float* b, double* c, double* c_scale, int64_t m, int64_t n, int64_t k,
                          int64_t begin, int64_t end) {
    (void)m;
    for (int64_t i = begin; i < end; ++i) {
        double* row = c + (i - begin) * n;
        double* magnitude = c_scale + (i - begin) * n;
        for (int64_t j = 0; j < n; ++j) {
            row[j] = 0.0;
            magnitude[j] = 0.0;
        }
        for (int64_t l = 0; l < k; ++l) {
            const double factor = a[i * k + l];
            for (int64_t j = 0; j < n; ++j) {
                const double product = factor * b[l * n + j];
                row[j] += product;
                magnitude[j] += std::fabs(product);
            }
        }
        for (int64_t j = 0; j < n; ++j) {
            magnitude[j] = magnitude[j] * growth(k) + negligible;
        }
    }
}

// Freivalds' check with a vector z of signs: a (b z) = c z, at the cost of a few vector products.
// R. Freivalds, "Probabilistic machines can use less running time", IFIP 1977.
extern "C" double freivalds(const float* a, const float* b, const float* c, int64_t m, int64_t n, int64_t k) {
    std::vector<double> signed_sums(static_cast<size_t>(k));
    std::vector<double> magnitudes(static_cast<size_t>(k));
    for (int64_t l = 0; l < k; ++l) {
        for (int64_t j = 0; j < n; ++j) {
            signed_sums[l] += sign(j) * b[l * n + j];
            magnitudes[l] += std::fabs(static_cast<double>(b[l * n + j]));
        }
    }
    double worst = 0.0;
    for (int64_t i = 0; i < m; ++i) {
        double expected = 0.0;
        double magnitude = 0.0;
        for (int64_t l = 0; l < k; ++l) {
            expected += a[i * k + l] * signed_sums[l];
            magnitude += std::fabs(static_cast<double>(a[i * k + l])) * magnitudes[l];
        }
        double got = 0.0;
        for (int64_t j = 0; j < n; ++j) {
            got += sign(j) * c[i * n + j];
        }
        const double allowed = ulps * roundoff * (growth(k) * magnitude + static_cast<double>(n) * negligible);
        const double violation = std::fabs(got - expected) / allowed;
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}

// The sums of the columns of c are the sums of the columns of a, times b.
extern "C" double column_sums(const float* a, const float* b, const float* c, int64_t m, int64_t n, int64_t k) {
    std::vector<double> sums(static_cast<size_t>(k));
    std::vector<double> magnitudes(static_cast<size_t>(k));
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t l = 0; l < k; ++l) {
            sums[l] += a[i * k + l];
            magnitudes[l] += std::fabs(static_cast<double>(a[i * k + l]));
        }
    }
    std::vector<double> difference(static_cast<size_t>(n));
    std::vector<double> allowed(static_cast<size_t>(n));
    for (int64_t l = 0; l < k; ++l) {
        for (int64_t j = 0; j < n; ++j) {
            difference[j] -= sums[l] * b[l * n + j];
            allowed[j] += magnitudes[l] * std::fabs(static_cast<double>(b[l * n + j]));
        }
    }
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            difference[j] += c[i * n + j];
        }
    }
    double worst = 0.0;
    for (int64_t j = 0; j < n; ++j) {
        const double bound = ulps * roundoff * (growth(k) * allowed[j] + static_cast<double>(m + 1) * negligible);
        const double violation = std::fabs(difference[j]) / bound;
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}
