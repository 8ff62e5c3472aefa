// Compares attention.cu with loops in double precision over the same rounded inputs, and its whole backward pass with
// a difference of the loss. BATCH is the number of sequences, SIZE the standard deviation of qkv:
// g++ -std=c++20 -O1 -w -DHEADS=2 -DDIM=32 -DTIME=200 -DTURNING=32 -DHAS_GAIN=1 -DBATCH=2 -DSIZE=1 attention_test.cpp
#include "testing.h"

#include "attention.cu"

typedef std::vector<double> Numbers;
constexpr int ROWS = BATCH * TIME, HALF = DIM / 2;

// Queries and keys, [ROWS, 2 · WIDTH], of qkv [ROWS, 3 · WIDTH].
Numbers expected_turned(const Numbers& qkv, const Numbers& gain, const std::vector<float2>& table) {
    Numbers turned(ROWS * 2 * WIDTH);
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < 2 * HEADS; vector++) {
            const double* x = &qkv[row * 3 * WIDTH + vector * DIM];
            double* y = &turned[row * 2 * WIDTH + vector * DIM];
            double square = 0, factor = 1;
            for (int d = 0; d < DIM; d++) square += x[d] * x[d];
            if (HAS_GAIN) factor = (vector < HEADS ? gain[vector] : 1) / sqrt(square / DIM + 1e-6);
            for (int d = 0; d < HALF; d++) {
                float2 angle = table[row % TIME * HALF + d];
                y[d] = factor * (x[d] * angle.x - x[d + HALF] * angle.y);
                y[d + HALF] = factor * (x[d + HALF] * angle.x + x[d] * angle.y);
            }
        }
    return turned;
}

// Gradients of queries and keys before they were prepared, and of the gain.
void expected_backward(const Numbers& qkv, const Numbers& gain, const std::vector<float2>& table, Numbers& gradients,
                       Numbers& gain_gradient) {
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < 2 * HEADS; vector++) {
            const double* x = &qkv[row * 3 * WIDTH + vector * DIM];
            double* y = &gradients[row * 3 * WIDTH + vector * DIM];
            double square = 0, along = 0;
            for (int d = 0; d < HALF; d++) {
                float2 angle = table[row % TIME * HALF + d];
                double a = y[d], b = y[d + HALF];
                y[d] = a * angle.x + b * angle.y;
                y[d + HALF] = b * angle.x - a * angle.y;
            }
            if (!HAS_GAIN) continue;
            for (int d = 0; d < DIM; d++) square += x[d] * x[d], along += x[d] * y[d];
            double inverse = 1 / sqrt(square / DIM + 1e-6), factor = vector < HEADS ? gain[vector] : 1;
            if (vector < HEADS) gain_gradient[vector] += along * inverse;
            for (int d = 0; d < DIM; d++)
                y[d] = factor * inverse * (y[d] - x[d] * inverse * inverse * along / DIM);
        }
}

struct Attended {
    Numbers mixed, log_sum, along, gradients;
};
Attended expected_attention(const Numbers& turned, const Numbers& qkv, const Numbers& upstream) {
    Attended all{Numbers(ROWS * WIDTH), Numbers(ROWS * HEADS), Numbers(ROWS * HEADS), Numbers(ROWS * 3 * WIDTH)};
    for (int sequence = 0; sequence < BATCH; sequence++)
        for (int head = 0; head < HEADS; head++)
            for (int time = 0; time < TIME; time++) {
                int row = sequence * TIME + time;
                size_t of_row = (sequence * HEADS + head) * TIME + time;
                const double* query = &turned[row * 2 * WIDTH + head * DIM];
                const double* above = &upstream[row * WIDTH + head * DIM];
                auto key = [&](int at) { return &turned[(sequence * TIME + at) * 2 * WIDTH + WIDTH + head * DIM]; };
                auto value = [&](int at) { return &qkv[(sequence * TIME + at) * 3 * WIDTH + 2 * WIDTH + head * DIM]; };
                Numbers share(time + 1), slope(time + 1);
                double top = -INFINITY, sum = 0, along = 0;
                for (int at = 0; at <= time; at++) {
                    for (int d = 0; d < DIM; d++) share[at] += query[d] * key(at)[d] / sqrt(DIM);
                    top = std::max(top, share[at]);
                }
                for (double& x : share) sum += x = exp(x - top);
                all.log_sum[of_row] = (log(sum) + top) / log(2);
                for (int at = 0; at <= time; at++) {
                    share[at] /= sum;
                    for (int d = 0; d < DIM; d++) {
                        all.mixed[row * WIDTH + head * DIM + d] += share[at] * value(at)[d];
                        slope[at] += above[d] * value(at)[d];
                    }
                    along += share[at] * slope[at];
                }
                all.along[of_row] = along;
                for (int at = 0; at <= time; at++) {
                    double change = share[at] * (slope[at] - along) / sqrt(DIM);
                    double* of_key = &all.gradients[(sequence * TIME + at) * 3 * WIDTH + WIDTH + head * DIM];
                    for (int d = 0; d < DIM; d++) {
                        all.gradients[row * 3 * WIDTH + head * DIM + d] += change * key(at)[d];
                        of_key[d] += change * query[d];
                        of_key[d + WIDTH] += share[at] * above[d];
                    }
                }
            }
    return all;
}

// Some of the columns of [rows, columns].
Numbers columns(const Numbers& all, int count, int first, int end) {
    Numbers some;
    for (size_t row = 0; row < all.size() / count; row++)
        some.insert(some.end(), &all[row * count] + first, &all[row * count] + end);
    return some;
}

int main() {
    auto qkv_bits = rounded(normal(ROWS * 3 * WIDTH, SIZE)), upstream_bits = rounded(normal(ROWS * WIDTH));
    Numbers qkv = numbers(qkv_bits), upstream = numbers(upstream_bits), gain;
    std::vector<float> gain_bits;
    for (int head = 0; head < HEADS; head++) gain.push_back(1.5f + head), gain_bits.push_back(1.5f + head);
    std::vector<float2> table;
    for (int time = 0; time < TIME; time++)
        for (int pair = 0; pair < HALF; pair++) {
            double angle = 2 * pair < TURNING ? time * pow(10000, -2.0 * pair / TURNING) : 0;
            table.push_back({(float)cos(angle), (float)sin(angle)});
        }

    const unsigned preparing = (TIME + PREPARED - 1) / PREPARED, blocks = (TIME + BLOCK - 1) / BLOCK;
    const unsigned parts = preparing * BATCH;
    struct Outputs {
        Output<bf16> turned{ROWS * 2 * WIDTH}, mixed{ROWS * WIDTH}, gradients{ROWS * 3 * WIDTH};
        Output<float> log_sum{ROWS * HEADS}, along{ROWS * HEADS}, gain_parts;
    };
    Numbers turned_gradients;
    auto run = [&](unsigned seed) {
        emulated::draw.seed(seed);
        Outputs to{.gain_parts{parts * HEADS}};
        const float* gains = HAS_GAIN ? gain_bits.data() : nullptr;
        launch({preparing, BATCH}, 256, [&] { prepare(qkv_bits.data(), gains, table.data(), to.turned.data()); });
        launch({blocks, HEADS, BATCH}, 128,
               [&] { attend(to.turned.data(), qkv_bits.data(), to.mixed.data(), to.log_sum.data()); });
        launch({(TIME * WIDTH / 8 + 255) / 256, BATCH}, 256,
               [&] { along(to.mixed.data(), upstream_bits.data(), to.along.data()); });
        launch({blocks, HEADS, BATCH}, 128, [&] {
            query_gradients(to.turned.data(), qkv_bits.data(), upstream_bits.data(), to.log_sum.data(), to.along.data(),
                            to.gradients.data());
        });
        launch({blocks, HEADS, BATCH}, 128, [&] {
            key_gradients(to.turned.data(), qkv_bits.data(), upstream_bits.data(), to.log_sum.data(), to.along.data(),
                          to.gradients.data());
        });
        turned_gradients = to.gradients.numbers();
        launch({preparing, BATCH}, 256, [&] {
            prepare_backward(qkv_bits.data(), gains, table.data(), to.gradients.data(),
                             HAS_GAIN ? to.gain_parts.data() : nullptr);
        });
        return to;
    };

    Outputs to = run(1), again = run(2);
    check_runs(to.turned, again.turned), check_runs(to.mixed, again.mixed), check_runs(to.gradients, again.gradients);
    check_runs(to.log_sum, again.log_sum), check_runs(to.along, again.along);
    check_runs(to.gain_parts, again.gain_parts);

    // Rounded outputs are half of 2^-8 off at most, 2^-9 / √3 on average.
    compare("turned", to.turned, expected_turned(qkv, gain, table), 2.5e-3);
    Attended expected = expected_attention(to.turned.numbers(), qkv, upstream);
    compare("mixed", to.mixed, expected.mixed, 4e-3);
    compare("log_sum", to.log_sum, expected.log_sum, 1e-3);
    // `along` cancels, so it's compared with its own sum over the rounded `mixed`.
    Numbers mixed = to.mixed.numbers(), along_expected(ROWS * HEADS);
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < WIDTH; column++)
            along_expected[(row / TIME * HEADS + column / DIM) * TIME + row % TIME] +=
                mixed[row * WIDTH + column] * upstream[row * WIDTH + column];
    compare("along", to.along, along_expected, 1e-6);
    const char* names[] = {"query gradients", "key gradients", "value gradients"};
    for (int third = 0; third < 3; third++)
        compare(names[third], columns(turned_gradients, 3 * WIDTH, third * WIDTH, (third + 1) * WIDTH),
              columns(expected.gradients, 3 * WIDTH, third * WIDTH, (third + 1) * WIDTH), 1e-2);

    // Through the preparation, of the kernels' own gradients before it.
    Numbers before = turned_gradients, gain_gradient(HEADS), gain_sums(HEADS);
    expected_backward(qkv, gain, table, before, gain_gradient);
    Numbers gradients = to.gradients.numbers(), part_numbers = to.gain_parts.numbers();
    compare("prepared back", columns(gradients, 3 * WIDTH, 0, 2 * WIDTH), columns(before, 3 * WIDTH, 0, 2 * WIDTH),
          2.5e-3);
    for (size_t index = 0; HAS_GAIN && index < part_numbers.size(); index++)
        gain_sums[index % HEADS] += part_numbers[index];
    if (HAS_GAIN) compare("gain", gain_sums, gain_gradient, 1e-4);

    // The loss Σ upstream · mixed changes along a direction as the gradients say.
    auto loss = [&](double step) {
        std::mt19937 own(11);
        std::normal_distribution<double> normal;
        Numbers moved = qkv, moved_gain = gain;
        for (size_t index = 0; index < moved.size(); index++)
            moved[index] += step * (gradients[index] + 0.1 * SIZE * normal(own));
        for (int head = 0; head < HEADS; head++) moved_gain[head] += step * gain_sums[head];
        Numbers out = expected_attention(expected_turned(moved, moved_gain, table), moved, upstream).mixed;
        double sum = 0;
        for (size_t index = 0; index < out.size(); index++) sum += out[index] * upstream[index];
        return sum;
    };
    std::mt19937 own(11);
    std::normal_distribution<double> direction;
    double slope = 0;
    for (double x : gradients) slope += x * (x + 0.1 * SIZE * direction(own));
    for (double x : gain_sums) slope += x * x;
    compare("slope", {slope}, {(loss(1e-5) - loss(-1e-5)) / 2e-5}, 1e-2);
    return failed;
}
