// Tests products.cu on a processor: g++ -std=c++20 -O1 -w products_test.cpp && ./a.out compiles and runs itself for
// many shapes; with -DROWS=… -DCOLUMNS=… -DINNER=… -DEPILOGUE=… for one. Prints the relative error of each output.
#ifndef ROWS
#include <cstdio>
#include <cstdlib>
#include <string>

int main() {
    const std::string WIDE = " -DTILE_ROWS=128 -DTILE_COLUMNS=128", WIDEST = " -DTILE_ROWS=256 -DTILE_COLUMNS=128";
    const std::string NARROW = " -DTILE_ROWS=128 -DTILE_COLUMNS=64", LEFT = " -DLEFT_TRANSPOSED=1";
    const std::string RIGHT = " -DRIGHT_TRANSPOSED=1", RUN = " -DTILES_A_BLOCK=2", BATCH = " -DBATCH=3";
    auto size = [](int rows, int columns, int inner, int epilogue, int activation = 0) {
        return " -DROWS=" + std::to_string(rows) + " -DCOLUMNS=" + std::to_string(columns) + " -DINNER=" +
               std::to_string(inner) + " -DEPILOGUE=" + std::to_string(epilogue) + " -DACTIVATION=" +
               std::to_string(activation);
    };
    std::string all[] = {
        // Forward: all tiles, a run of tiles with A's rows resident and not.
        size(1, 96, 32, 0), size(100, 192, 64, 0), size(200, 320, 96, 0) + NARROW + RUN,
        size(128, 384, 256, 0) + WIDE + RUN,
        size(130, 384, 288, 0) + WIDE + RUN, size(300, 256, 288, 2) + WIDEST + RUN, size(300, 128, 96, 2) + WIDEST,
        size(129, 256, 128, 2) + WIDE, size(2047, 64, 32, 2), size(100, 128, 64, 3, 0), size(200, 256, 64, 3, 1) + WIDE,
        size(257, 136, 40, 3, 2) + WIDEST,
        // Backward.
        size(100, 64, 192, 0) + RIGHT, size(200, 256, 64, 4, 0) + RIGHT + WIDE + RUN, size(100, 128, 64, 4, 1) + RIGHT,
        size(257, 136, 40, 4, 2) + RIGHT + WIDEST, size(64, 192, 1000, 1) + LEFT + " -DPARTS=5",
        size(128, 128, 300, 1) + LEFT + " -DPARTS=3" + WIDE, size(256, 136, 1000, 1) + LEFT + " -DPARTS=4",
        size(64, 64, 320, 1) + LEFT + " -DPARTS=3", size(64, 64, 100, 1) + LEFT + RIGHT + " -DPARTS=4",
        size(96, 64, 100, 1) + LEFT + " -DPARTS=7" + NARROW, size(32, 96, 2047, 1) + LEFT + BATCH + " -DPARTS=2",
        // A vocabulary of any size: the head forward, backward to its input, to its weights.
        size(100, 257, 64, 1), size(130, 259, 64, 1) + WIDE + RUN, size(100, 64, 257, 0) + RIGHT,
        size(64, 77, 300, 1) + LEFT + " -DPARTS=2",
        size(129, 130, 70, 0) + WIDE, size(70, 61, 33, 4, 0) + RIGHT, size(70, 61, 33, 2), size(70, 61, 33, 3, 2),
        // Newton–Schulz: X · Xᵀ, P · P, P · X.
        size(64, 64, 128, 0) + RIGHT + BATCH, size(72, 72, 72, 5) + BATCH, size(128, 256, 128, 5) + BATCH,
        // All layouts.
        size(72, 80, 40, 1) + BATCH, size(72, 80, 40, 1) + BATCH + LEFT, size(72, 80, 40, 1) + BATCH + RIGHT,
        size(72, 80, 40, 1) + BATCH + LEFT + RIGHT, size(129, 200, 41, 1) + WIDE + LEFT + RIGHT};
    int failures = 0;
    for (const std::string& options : all) {
        fflush(stdout);
        std::string program = "./products_test_of_one";
        std::string compile = "g++ -std=c++20 -O1 -w" + options + " " + __FILE__ + " -o " + program;
        if (system(compile.c_str()) != 0 || system(program.c_str()) != 0) {
            printf("FAILED:%s\n", options.c_str());
            failures++;
        }
    }
    remove("./products_test_of_one");
    printf("%d of %zu failed\n", failures, sizeof all / sizeof all[0]);
    return failures > 0;
}
#else
#define FACTOR_A -4.775f
#define FACTOR_B 2.0315f
#ifndef ACTIVATION
#define ACTIVATION 0
#endif
#include "emulated.h"

#include "products.cu"

static const size_t GUARD = 64;
static bool failed = false;

// An output between guard zones; all of it is NaN.
template <typename T>
struct Output {
    std::vector<T> all;
    Output(size_t count) : all(count + 2 * GUARD) { memset(all.data(), 0xff, all.size() * sizeof(T)); }
    T* data() { return all.data() + GUARD; }
    void check_guards(const char* name) {
        std::vector<unsigned char> poison(GUARD * sizeof(T), 0xff);
        if (memcmp(all.data(), poison.data(), poison.size()) ||
            memcmp(all.data() + all.size() - GUARD, poison.data(), poison.size())) {
            printf("%s: written outside\n", name);
            failed = true;
        }
    }
};

static double number(double x) { return x; }
static double number(float x) { return x; }
static double number(bf16 x) { return from_bf16(x); }

template <typename T>
static void compare(const char* name, const T* got, const std::vector<double>& expected, double tolerance) {
    double apart = 0, size = 0;
    for (size_t index = 0; index < expected.size(); index++) {
        double difference = number(got[index]) - expected[index];
        apart += difference * difference;
        size += expected[index] * expected[index];
    }
    double error = sqrt(apart / size);
    bool is_fine = error <= tolerance;
    printf("  %s %.2e%s", name, error, is_fine ? "" : " WRONG");
    failed |= !is_fine;
}

static double activated(double x) {
    if (ACTIVATION == SQUARED_RELU) return x > 0 ? x * x : 0;
    if (ACTIVATION == LEAKY_SQUARED_RELU) return x > 0 ? x * x : x * x / 4;
    return 0.5 * x * (1 + tanh(0.797884560802865 * (x + 0.044715 * x * x * x)));
}

// By differences, so that the formula is not the kernel's.
static double derivative(double x) { return (activated(x + 1e-5) - activated(x - 1e-5)) / 2e-5; }

int main() {
    std::mt19937 draw(7);
    std::normal_distribution<float> normal;
    auto random_bf16 = [&](size_t count, float scale) {
        std::vector<bf16> all(count);
        for (bf16& x : all) x = to_bf16(normal(draw) * scale);
        return all;
    };
    size_t cells = (size_t)ROWS * COLUMNS, inner = INNER;
    auto a = random_bf16(BATCH * ROWS * inner, 1), b = random_bf16(BATCH * COLUMNS * inner, 1 / sqrtf(INNER));
    auto halves = random_bf16(BATCH * cells, 1);
    std::vector<float> singles(BATCH * cells);
    for (float& x : singles) x = normal(draw);

    std::vector<double> product_of(BATCH * cells), expected(BATCH * cells);
    for (size_t batch = 0; batch < BATCH; batch++)
        for (size_t row = 0; row < ROWS; row++)
            for (size_t column = 0; column < COLUMNS; column++) {
                double sum = 0;
                for (size_t k = 0; k < inner; k++) {
                    size_t of_a = LEFT_TRANSPOSED ? k * ROWS + row : row * inner + k;
                    size_t of_b = RIGHT_TRANSPOSED ? column * inner + k : k * COLUMNS + column;
                    sum += number(a[batch * ROWS * inner + of_a]) * number(b[batch * COLUMNS * inner + of_b]);
                }
                product_of[batch * cells + row * COLUMNS + column] = sum;
            }

#if EPILOGUE == OUT_F32 || EPILOGUE == ADD
    typedef float Out;
#else
    typedef bf16 Out;
#endif
    const size_t shared_bytes = 64 * (LEFT_STAGES * TILE_ROWS + STAGES * TILE_COLUMNS);
    printf("%d%s x %d%s over %d, batch %d, parts %d, epilogue %d: tiles %d x %d, %d a block%s, threads %d, "
           "shared %zu\n ",
           ROWS, LEFT_TRANSPOSED ? "T" : "", COLUMNS, RIGHT_TRANSPOSED ? "T" : "", INNER, BATCH, PARTS, EPILOGUE,
           TILE_ROWS, TILE_COLUMNS, TILES_A_BLOCK, RESIDENT ? " resident" : "", THREADS, shared_bytes);
    Output<Out> before(BATCH * cells), c(BATCH * PARTS * cells), again(BATCH * PARTS * cells);
    for (Output<Out>* out : {&c, &again}) {
        emulated::draw.seed(out == &c ? 1 : 2);
        launch({ROW_TILES * BLOCKS_A_ROW, PARTS, BATCH}, THREADS, [&] {
#if EPILOGUE == ADD
            product(a.data(), b.data(), singles.data(), out->data());
#elif EPILOGUE == ACTIVATE
            product(a.data(), b.data(), before.data(), out->data());
#elif EPILOGUE == ACTIVATE_BACKWARD || EPILOGUE == SCALED
            product(a.data(), b.data(), halves.data(), out->data());
#else
            product(a.data(), b.data(), out->data());
#endif
        });
    }
    if (memcmp(c.all.data(), again.all.data(), c.all.size() * sizeof(Out))) {
        printf("two runs differ\n");
        failed = true;
    }
    c.check_guards("c");
    before.check_guards("before");

    for (size_t index = 0; index < BATCH * cells; index++) {
        double x = product_of[index];
#if EPILOGUE == ADD
        x += singles[index];
#elif EPILOGUE == ACTIVATE
        x = activated(number(before.data()[index]));
#elif EPILOGUE == ACTIVATE_BACKWARD
        x *= derivative(number(halves[index]));
#elif EPILOGUE == SCALED
        x = FACTOR_A * number(halves[index]) + FACTOR_B * x;
#endif
        expected[index] = x;
    }
    // Rounding to bf16 is 2^-9 at most, 1.7e-3 in quadratic mean at worst; twice where the product is rounded before.
    double rounding = sizeof(Out) == 4 ? 1e-6 : EPILOGUE == ACTIVATE_BACKWARD ? 3e-3 : 2e-3;
    std::vector<double> sums(BATCH * cells);
    for (size_t index = 0; index < BATCH * PARTS * cells; index++) {
        sums[index / (PARTS * cells) * cells + index % cells] += number(c.data()[index]);
    }
    compare("c", sums.data(), expected, rounding);
#if EPILOGUE == ACTIVATE
    compare("before", before.data(), product_of, rounding);
#endif
    printf("\n");
    return failed;
}
#endif
