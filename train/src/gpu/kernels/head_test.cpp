// head.cu against loops in double precision:
// g++ -std=c++20 -O1 -w -DROWS=21 -DVOCABULARY=257 -DHAS_BIAS -DHAS_CAP -DSOFT_CAP=15.0f head_test.cpp
// and with -DDIVISOR=20.0f, for the gradient.
#include "testing.h"

#define COUNT 3001
#include "head.cu"

int main() {
    auto logits = normal((size_t)ROWS * VOCABULARY, 8), bias = normal(VOCABULARY), x = normal(COUNT);
    std::vector<int> targets;
    for (int row = 0; row < ROWS; row++) targets.push_back(source() % VOCABULARY);
    std::vector<double> expected_nats, expected_slope((size_t)ROWS * VOCABULARY), expected_mean(1);
#ifdef DIVISOR
    const double divisor = DIVISOR;
#else
    const double divisor = 1;
#endif
    for (size_t row = 0; row < ROWS; row++) {
        std::vector<double> capped, inner;
        double sum = 0;
        for (size_t index = 0; index < VOCABULARY; index++) {
            double logit = logits[row * VOCABULARY + index];
#ifdef HAS_BIAS
            logit += bias[index];
#endif
            double tanh_of = CAPPED ? tanh(logit / CAP) : 0;
            capped.push_back(CAPPED ? CAP * tanh_of : logit);
            inner.push_back(1 - tanh_of * tanh_of);
            sum += exp(capped.back());
        }
        expected_nats.push_back(log(sum) - capped[targets[row]]);
        for (size_t index = 0; index < VOCABULARY; index++) {
            double slope = exp(capped[index]) / sum - (index == targets[row]);
            expected_slope[row * VOCABULARY + index] = slope * inner[index] / divisor;
        }
    }
    unsigned blocks = ROW_THREADS == 32 ? (ROWS + 7) / 8 : ROWS;
    Output<float> nats(ROWS), average(1);
#ifdef DIVISOR
    Output<bf16> slope((size_t)ROWS * VOCABULARY);
    auto kernel = [&] { head_loss(logits.data(), bias.data(), targets.data(), nats.data(), slope.data()); };
    run({blocks}, HEAD_THREADS, kernel, nats, slope);
    compare("head_loss, slope", slope, expected_slope, 4e-3);
#else
    auto kernel = [&] { nats_only(logits.data(), bias.data(), targets.data(), nats.data()); };
    run({blocks}, HEAD_THREADS, kernel, nats);
#endif
    compare("nats", nats, expected_nats, 5e-7);
    run({1}, 256, [&] { mean(x.data(), average.data()); }, average);
    for (float number : x) expected_mean[0] += number / (double)COUNT;
    compare("mean", average, expected_mean, 1e-5);
    return failed;
}
