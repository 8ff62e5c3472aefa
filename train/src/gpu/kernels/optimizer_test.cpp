// optimizer.cu against loops in double precision:
// g++ -std=c++20 -O1 -w -DCOUNT=1001 -DINPUTS=40 -DCOLUMNS=72 -DBLOCKS=3 optimizer_test.cpp
#include "testing.h"

#include "optimizer.cu"

typedef std::vector<double> Numbers;

void test_norm() {
    auto x = normal(COUNT);
    Output<float> parts(3), total(1);
    run({3}, 256, [&] { squared_norm(x.data(), parts.data()); }, parts);
    total.data()[0] = parts.data()[0] + parts.data()[1] + parts.data()[2];
    double sum = 0;
    for (float number : x) sum += (double)number * number;
    compare("squared_norm", total, {sum}, 3e-7);
}

void test_adam() {
    auto weights = normal(COUNT), gradient = normal(COUNT), first = normal(COUNT), second = normal(COUNT);
    for (float& square : second) square *= square;
    std::vector<float> scale{0.3f};
    Settings by_value{0.01f, 0.9f, 0.99f, 1e-8f, 0.271f, 0.0297f};
    const float* settings = by_value.at;
    Numbers expected[3];
    for (size_t at = 0; at < COUNT; at++) {
        double slope = (double)gradient[at] * scale[0], beta1 = settings[1], beta2 = settings[2];
        double mean = first[at] * beta1 + slope * (1 - beta1);
        double square = second[at] * beta2 + slope * slope * (1 - beta2);
        double step = mean / settings[4] / (sqrt(square / settings[5]) + settings[3]);
        expected[0].push_back(weights[at] - step * settings[0]);
        expected[1].push_back(mean);
        expected[2].push_back(square);
    }
    Output<float> new_weights(COUNT), new_first(COUNT), new_second(COUNT);
    auto kernel = [&] {
        adam_step(weights.data(), gradient.data(), first.data(), second.data(), scale.data(),
                  new_weights.data(), new_first.data(), new_second.data(), by_value);
    };
    run({(COUNT + 1023) / 1024}, 256, kernel, new_weights, new_first, new_second);
    compare("adam_step, weights", new_weights, expected[0], 1e-7);
    compare("adam_step, first", new_first, expected[1], 1e-7);
    compare("adam_step, second", new_second, expected[2], 2e-7);
}

void test_muon() {
    const size_t size = (size_t)INPUTS * COLUMNS;
    auto weights = normal(size), gradient = normal(size), momentum = normal(size), update = normal(size);
    auto halves = rounded(update);
    std::vector<float> scale{0.3f};
    Settings by_value{0.95f, 0.02f, 0.1f};
    const float* settings = by_value.at;
    Numbers new_momentum(size), ahead(size), normed(size), new_weights(size), squares(BLOCKS);
    // Where an element is among matrices that are apart.
    auto apart = [](size_t at) {
        size_t input = at / COLUMNS, block = at % COLUMNS / OUTPUTS, output = at % OUTPUTS;
        return block * ELEMENTS + (INPUTS > OUTPUTS ? output * INPUTS + input : input * OUTPUTS + output);
    };
    double rate = settings[1], factor = sqrt(std::max(1.0, OUTPUTS / (double)INPUTS));
    for (size_t at = 0; at < size; at++) {
        double slope = (double)gradient[at] * scale[0];
        new_momentum[at] = (double)momentum[at] * settings[0] + slope;
        ahead[apart(at)] = new_momentum[at] * settings[0] + slope;
        new_weights[at] = weights[at] * (1 - rate * settings[2]) - from_bf16(halves[apart(at)]) * rate * factor;
    }
    for (size_t at = 0; at < size; at++) squares[at / ELEMENTS] += ahead[at] * ahead[at];
    for (size_t at = 0; at < size; at++) normed[at] = ahead[at] / (sqrt(squares[at / ELEMENTS]) + 1e-7);

    emulated::Grid grid{(OUTPUTS + 31) / 32, (INPUTS + 31) / 32, BLOCKS};
    Output<float> found_momentum(size), found_ahead(size), parts(BLOCKS * TILES), found_weights(size);
    Output<bf16> found_normed(size);
    auto kernel = [&] {
        muon_momentum(gradient.data(), momentum.data(), scale.data(), found_momentum.data(),
                      found_ahead.data(), parts.data(), by_value);
    };
    run(grid, 256, kernel, found_momentum, found_ahead, parts);
    compare("muon_momentum, momentum", found_momentum, new_momentum, 1e-7);
    compare("muon_momentum, ahead", found_ahead, ahead, 1e-7);
    auto normalize = [&] { muon_normalize(found_ahead.data(), parts.data(), found_normed.data()); };
    run({BLOCKS, 2}, 256, normalize, found_normed);
    compare("muon_normalize", found_normed, normed, 3e-3);
    auto step = [&] { muon_update(weights.data(), halves.data(), found_weights.data(), by_value); };
    run(grid, 256, step, found_weights);
    compare("muon_update", found_weights, new_weights, 1e-7);
}

int main() {
    test_norm();
    test_adam();
    test_muon();
    return failed;
}
