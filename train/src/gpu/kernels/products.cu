// Products of bf16 matrices by tensor cores, summed in f32: every linear layer of the network, forward and backward,
// and the Newton–Schulz steps of the optimizer Muon (K. Jordan, 2024).
//
// C [ROWS, COLUMNS] = A · B, where A is [ROWS, INNER], or its transpose is stored (LEFT_TRANSPOSED), and B is
// [INNER, COLUMNS], or its transpose is stored (RIGHT_TRANSPOSED); BATCH matrices of each lie one after another.
// Any size is right. Rows of a stored matrix whose length is no multiple of 8 are copied number by number, slowly.
//
// Tiles of C are of TILE_ROWS × TILE_COLUMNS: 64 × 64, 128 × 64, 128 × 128 or 256 × 128. A block makes TILES_A_BLOCK of
// them that lie beside each other, with the copies of the next STAGES − 1 steps under way all the time, those of the
// next tile during the epilogue too. With RESIDENT, A's rows for a tile stay in shared memory for all these tiles. The
// sums are over PARTS parts of INNER, side by side. `products.rs` chooses all of these.

// What becomes of the product:
#define OUT_BF16 0           // (a, b, c): c bf16.
#define OUT_F32 1            // (a, b, c): c f32; with PARTS > 1, c is [BATCH, PARTS, ROWS, COLUMNS], parts of sums.
#define ADD 2                // (a, b, other, c): c = other + product, both f32.
#define ACTIVATE 3           // (a, b, before, after): before = product, after = activation(before), both bf16.
#define ACTIVATE_BACKWARD 4  // (a, b, before, c): c = bf16(product) · activation'(before), both bf16.
#define SCALED 5             // (a, b, other, c): c = FACTOR_A · other + FACTOR_B · product, both bf16; COLUMNS even.

// ACTIVATION is one of these.
#define SQUARED_RELU 0
#define LEAKY_SQUARED_RELU 1
#define GELU 2

// What tests leave out.
#ifndef LEFT_TRANSPOSED
#define LEFT_TRANSPOSED 0
#endif
#ifndef RIGHT_TRANSPOSED
#define RIGHT_TRANSPOSED 0
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef PARTS
#define PARTS 1
#endif
#ifndef STAGES
#define STAGES 4
#endif
#ifndef TILE_ROWS
#define TILE_ROWS 64
#define TILE_COLUMNS 64
#endif
#ifndef TILES_A_BLOCK
#define TILES_A_BLOCK 1
#endif
#ifndef RESIDENT
#define RESIDENT 0
#endif

#define CEIL_DIVIDE(COUNT, BY) (((COUNT) + (BY) - 1) / (BY))

#define ROW_TILES CEIL_DIVIDE(ROWS, TILE_ROWS)
#define COLUMN_TILES CEIL_DIVIDE(COLUMNS, TILE_COLUMNS)
#define BLOCKS_A_ROW CEIL_DIVIDE(COLUMN_TILES, TILES_A_BLOCK)

// Of INNER, so much is copied in a step.
#define STEP 32
#define STEPS CEIL_DIVIDE(CEIL_DIVIDE(INNER, PARTS), STEP)

// Whether nothing of any tile or step lies outside of the matrices.
#define IS_WHOLE (ROWS % TILE_ROWS == 0 && COLUMNS % TILE_COLUMNS == 0 && PARTS * STEPS * STEP == INNER)

// Steps that are in shared memory at a time, and what a step takes there of either operand.
#define LEFT_STAGES (RESIDENT ? STEPS : STAGES)
#define LEFT_NUMBERS (TILE_ROWS * STEP)
#define RIGHT_NUMBERS (TILE_COLUMNS * STEP)

// A warp's share of a tile, of 16 × 8 tiles of the tensor cores.
#define WARP_ROWS (TILE_ROWS == 64 ? 32 : 64)
#define WARP_COLUMNS (TILE_COLUMNS == 64 ? 32 : 64)
#define THREADS (TILE_ROWS / WARP_ROWS * (TILE_COLUMNS / WARP_COLUMNS) * 32)
#define DOWN (WARP_ROWS / 16)
#define ACROSS (WARP_COLUMNS / 8)
// Blocks of a multiprocessor, whose registers bound them.
#define BLOCKS_AT_ONCE (TILE_ROWS == 256 ? 1 : TILE_COLUMNS == 128 ? 2 : TILE_ROWS == 128 ? 3 : 5)

// Where 16 bytes lie in a tile in shared memory whose rows have CHUNKS of them. They are permuted within a row (or two,
// of 64 bytes), so that 8 of neighbouring rows lie in different banks.
template <int CHUNKS>
__device__ __forceinline__ int place(unsigned row, unsigned chunk) {
    return (row * CHUNKS + (chunk ^ (CHUNKS == 4 ? row / 2 % 4 : row % 8))) * 8;
}

// Begins to copy a tile [HEIGHT, WIDTH] of a matrix, with zeros for what lies outside of it.
template <int HEIGHT, int WIDTH, int MATRIX_ROWS, int MATRIX_COLUMNS>
__device__ __forceinline__ void begin_tile(bf16* tile, const bf16* matrix, int first_row, int first_column) {
    constexpr int CHUNKS = WIDTH / 8, APART = THREADS / CHUNKS;  // 8 divides APART: rows so far apart permute alike.
    int row = first_row + threadIdx.x / CHUNKS, column = first_column + threadIdx.x % CHUNKS * 8;
    bf16* to = tile + place<CHUNKS>(threadIdx.x / CHUNKS, threadIdx.x % CHUNKS);
    const bf16* from = matrix + (size_t)row * MATRIX_COLUMNS + column;
#pragma unroll
    for (int turn = 0; turn < HEIGHT / APART; turn++) {
        bool is_there = IS_WHOLE || (row + turn * APART < MATRIX_ROWS && column < MATRIX_COLUMNS);
        if (MATRIX_COLUMNS % 8 == 0) {
            copy_16(to, from, is_there);
        } else {
            bf16 numbers[8];
#pragma unroll
            for (int at = 0; at < 8; at++) numbers[at] = is_there && column + at < MATRIX_COLUMNS ? from[at] : 0;
            *(uint4*)to = make_uint4(numbers[0] | numbers[1] << 16, numbers[2] | numbers[3] << 16,
                                     numbers[4] | numbers[5] << 16, numbers[6] | numbers[7] << 16);
        }
        to += APART * WIDTH;
        from += (size_t)APART * MATRIX_COLUMNS;
    }
}

// Operands of 16 of a step's inner numbers for all of a warp's share: the left of 16 rows each, the right of 16 columns
// each, two numbers for 8 of them. Rows of shared memory that are 16 apart permute alike.
__device__ __forceinline__ void load_left(unsigned (&to)[DOWN][4], const bf16* tile, int row, int inner) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int down = 0; down < DOWN; down++) {
#if LEFT_TRANSPOSED
        const bf16* from = tile + place<TILE_ROWS / 8>(lane / 16 * 8 + lane % 8, row / 8 + down * 2 + lane / 8 % 2);
        load_matrices_transposed(to[down], from + inner * TILE_ROWS);
#else
        load_matrices(to[down], tile + place<STEP / 8>(lane % 16, inner / 8 + lane / 16) + (row + down * 16) * STEP);
#endif
    }
}

__device__ __forceinline__ void load_right(unsigned (&to)[ACROSS / 2][4], const bf16* tile, int column, int inner) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int pair = 0; pair < ACROSS / 2; pair++) {
#if RIGHT_TRANSPOSED
        const bf16* from = tile + place<STEP / 8>(lane / 16 * 8 + lane % 8, inner / 8 + lane / 8 % 2);
        load_matrices(to[pair], from + (column + pair * 16) * STEP);
#else
        const bf16* from = tile + place<TILE_COLUMNS / 8>(lane % 16, column / 8 + pair * 2 + lane / 16);
        load_matrices_transposed(to[pair], from + inner * TILE_COLUMNS);
#endif
    }
}

// 16 bytes of a matrix [ROWS, COLUMNS] of bf16, or of f32 as their bits; zeros outside.
template <typename T>
__device__ __forceinline__ void load_row(unsigned (&words)[4], const T* from, int row, int column) {
    from += (size_t)row * COLUMNS + column;
    bool is_there = IS_WHOLE || (row < ROWS && column < COLUMNS);
    if (COLUMNS % (16 / sizeof(T)) == 0) {
        uint4 all = is_there ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
        words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    } else {
#pragma unroll
        for (int word = 0; word < 4; word++) {
            words[word] = 0;
#pragma unroll
            for (int at = 0; at < 4 / sizeof(T); at++) {
                int index = word * (4 / sizeof(T)) + at;
                if (is_there && column + index < COLUMNS) words[word] |= (unsigned)from[index] << at * 16;
            }
        }
    }
}

template <typename T>
__device__ __forceinline__ void store_row(T* to, int row, int column, const unsigned (&words)[4]) {
    to += (size_t)row * COLUMNS + column;
    if (!IS_WHOLE && (row >= ROWS || column >= COLUMNS)) return;
    if (COLUMNS % (16 / sizeof(T)) == 0) {
        store_16(to, make_uint4(words[0], words[1], words[2], words[3]));
    } else {
#pragma unroll
        for (int index = 0; index < 16 / sizeof(T); index++) {
            unsigned word = words[index * sizeof(T) / 4];
            if (column + index < COLUMNS) to[index] = (T)(sizeof(T) == 4 ? word : word >> index % 2 * 16);
        }
    }
}

// What the thread has of one is exchanged with what its neighbour, so many lanes apart, has of the other: the first of
// two neighbours then holds both of `low`, the second both of `high`.
__device__ __forceinline__ void exchange(unsigned& low, unsigned& high, int apart) {
    bool is_second = threadIdx.x & apart;
    float sent = __uint_as_float(is_second ? low : high);
    unsigned got = __float_as_uint(__shfl_xor_sync(0xffffffffu, sent, apart));
    (is_second ? low : high) = got;
}

#if EPILOGUE == ACTIVATE || EPILOGUE == ACTIVATE_BACKWARD
// 1 / (1 + e^(−2u)), u = √(2/π) · (x + 0.044715 x³): the tanh form of GELU, x · (1 + tanh u) / 2, is x times this.
__device__ __forceinline__ float gelu_gate(float x) {
    const float SCALE = -2.0f * 0.797884560802865f * 1.44269504088896f;  // With log₂ e, for a power of 2.
    return __fdividef(1.0f, 1.0f + exp2_fast(x * (SCALE + SCALE * 0.044715f * (x * x))));
}

__device__ __forceinline__ float activate(float x) {
#if ACTIVATION == SQUARED_RELU
    float positive = fmaxf(x, 0.0f);
    return positive * positive;
#elif ACTIVATION == LEAKY_SQUARED_RELU
    float leaky = fmaxf(x, 0.5f * x);
    return leaky * leaky;
#else
    return x * gelu_gate(x);
#endif
}

// The activation's derivative.
__device__ __forceinline__ float slope(float x) {
#if ACTIVATION == SQUARED_RELU
    return 2.0f * fmaxf(x, 0.0f);
#elif ACTIVATION == LEAKY_SQUARED_RELU
    return fmaxf(2.0f * x, 0.5f * x);
#else
    const float SCALE = 2.0f * 0.797884560802865f;
    float gate = gelu_gate(x);
    return gate + x * gate * (1.0f - gate) * (SCALE + SCALE * 3.0f * 0.044715f * (x * x));
#endif
}
#endif

#if EPILOGUE == ADD
#define POINTERS const float *__restrict__ other, float *__restrict__ c
#elif EPILOGUE == OUT_F32
#define POINTERS float* __restrict__ c
#elif EPILOGUE == ACTIVATE
#define POINTERS bf16 *__restrict__ before, bf16 *__restrict__ c
#elif EPILOGUE == ACTIVATE_BACKWARD
#define POINTERS const bf16 *__restrict__ before, bf16 *__restrict__ c
#elif EPILOGUE == SCALED
#define POINTERS const bf16 *__restrict__ other, bf16 *__restrict__ c
#else
#define POINTERS bf16* __restrict__ c
#endif

// Columns of 16 bytes of the result, and how many 16 bytes a thread has of a row of its warp's share.
#define IS_SINGLE (EPILOGUE == OUT_F32 || EPILOGUE == ADD)
#define PIECE (IS_SINGLE ? 4 : 8)
#define PIECES (WARP_COLUMNS / 4 / PIECE)

// Threads: THREADS. Grid: (ROW_TILES · BLOCKS_A_ROW, PARTS, BATCH).
// Shared memory of the launch: 64 · (LEFT_STAGES · TILE_ROWS + STAGES · TILE_COLUMNS) bytes.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE)
    product(const bf16* __restrict__ a, const bf16* __restrict__ b, POINTERS) {
    SHARED_OF_LAUNCH(shared);
    bf16* left_tiles = (bf16*)shared;
    bf16* right_tiles = left_tiles + LEFT_STAGES * LEFT_NUMBERS;

    // Blocks of the same rows of A follow one another, so that they find them in L2.
    int first_row = blockIdx.x / BLOCKS_A_ROW * TILE_ROWS;
    int first_tile = blockIdx.x % BLOCKS_A_ROW * TILES_A_BLOCK;
    int first_inner = blockIdx.y * (STEPS * STEP);
    int steps = min(TILES_A_BLOCK, COLUMN_TILES - first_tile) * STEPS;
    a += (size_t)blockIdx.z * ROWS * INNER;
    b += (size_t)blockIdx.z * INNER * COLUMNS;
    size_t matrix = ((size_t)blockIdx.z * PARTS + blockIdx.y) * ROWS * COLUMNS;
    c += matrix;
#if EPILOGUE == ADD || EPILOGUE == SCALED
    other += matrix;
#elif EPILOGUE == ACTIVATE || EPILOGUE == ACTIVATE_BACKWARD
    before += matrix;
#endif

    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int warp_row = warp / (TILE_COLUMNS / WARP_COLUMNS) * WARP_ROWS;
    int warp_column = warp % (TILE_COLUMNS / WARP_COLUMNS) * WARP_COLUMNS;

    auto begin = [&](int step) {
        if (step < steps) {
            int inner = first_inner + step % STEPS * STEP;
            int column = (first_tile + step / STEPS) * TILE_COLUMNS;
            bf16* left = left_tiles + step % LEFT_STAGES * LEFT_NUMBERS;
            bf16* right = right_tiles + step % STAGES * RIGHT_NUMBERS;
            if (!RESIDENT || step < STEPS) {
#if LEFT_TRANSPOSED
                begin_tile<STEP, TILE_ROWS, INNER, ROWS>(left, a, inner, first_row);
#else
                begin_tile<TILE_ROWS, STEP, ROWS, INNER>(left, a, first_row, inner);
#endif
            }
#if RIGHT_TRANSPOSED
            begin_tile<TILE_COLUMNS, STEP, COLUMNS, INNER>(right, b, column, inner);
#else
            begin_tile<STEP, TILE_COLUMNS, INNER, COLUMNS>(right, b, inner, column);
#endif
        }
        close_copies();
    };

    // Operands of the step's second 16 inner numbers are loaded while the first are multiplied. To load those of the
    // next step ahead too would double the time that it takes to compile.
    unsigned left[2][DOWN][4], right[2][ACROSS / 2][4];
    auto load = [&](int buffer, int step, int inner) {
        load_left(left[buffer], left_tiles + step % LEFT_STAGES * LEFT_NUMBERS, warp_row, inner);
        load_right(right[buffer], right_tiles + step % STAGES * RIGHT_NUMBERS, warp_column, inner);
    };

#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) begin(step);
    wait_for_copies<STAGES - 2>();
    __syncthreads();

#pragma unroll 1
    for (int step = 0; step < steps;) {
        int tile_column = (first_tile + step / STEPS) * TILE_COLUMNS + warp_column;
        float sums[DOWN][ACROSS][4] = {};
#pragma unroll 1
        for (int end = step + STEPS; step < end; step++) {
            // In the place of the step before.
            begin(step + STAGES - 1);
            load(0, step, 0);
            load(1, step, 16);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                if (half == 1) {
                    // The next step is there, and all have loaded what they need of this one.
                    wait_for_copies<STAGES - 2>();
                    __syncthreads();
                }
#pragma unroll
                for (int down = 0; down < DOWN; down++)
#pragma unroll
                    for (int across = 0; across < ACROSS; across++) {
                        unsigned(&operand)[4] = right[half][across / 2];
                        multiply(sums[down][across], left[half][down], operand[across % 2 * 2],
                                 operand[across % 2 * 2 + 1]);
                    }
            }
        }

        // Lanes of four hold two neighbouring columns of each 8; by exchange, each gets 16 bytes of a row.
#pragma unroll
        for (int down = 0; down < DOWN; down++) {
            int row = first_row + warp_row + down * 16 + lane / 4;
            int column = tile_column + (IS_SINGLE ? lane % 2 * 8 + lane / 2 % 2 * 4 : lane % 4 * 8);
#if EPILOGUE == ADD || EPILOGUE == ACTIVATE_BACKWARD
            // All at once, since each takes long.
            unsigned given[2][PIECES][4];
#pragma unroll
            for (int index = 0; index < 2 * PIECES; index++) {
                int half = index / PIECES, piece = index % PIECES;
#if EPILOGUE == ADD
                load_row(given[half][piece], (const unsigned*)other, row + half * 8, column + piece * 16);
#else
                load_row(given[half][piece], before, row + half * 8, column + piece * 32);
#endif
            }
#endif
#pragma unroll
            for (int index = 0; index < 2 * PIECES; index++) {
                int half = index / PIECES, piece = index % PIECES, of_row = row + half * 8;
                unsigned words[4];
#if IS_SINGLE
#pragma unroll
                for (int at = 0; at < 4; at++)
                    words[at] = __float_as_uint(sums[down][piece * 2 + at / 2][half * 2 + at % 2]);
                // The second of two neighbours has the higher columns of what it keeps.
                exchange(words[0], words[2], 1);
                exchange(words[1], words[3], 1);
#if EPILOGUE == ADD
#pragma unroll
                for (int at = 0; at < 4; at++)
                    words[at] = __float_as_uint(__uint_as_float(words[at]) + __uint_as_float(given[half][piece][at]));
#endif
                store_row((unsigned*)c, of_row, column + piece * 16, words);
#else
#pragma unroll
                for (int at = 0; at < 4; at++) {
                    const float* pair = &sums[down][piece * 4 + at][half * 2];
                    float low = pair[0], high = pair[1];
#if EPILOGUE == SCALED
                    int of_column = tile_column + piece * 32 + at * 8 + lane % 4 * 2;
                    unsigned both = 0;
                    if (IS_WHOLE || (of_row < ROWS && of_column < COLUMNS))
                        both = *(const unsigned*)(other + (size_t)of_row * COLUMNS + of_column);
                    low = FACTOR_A * low_bf16(both) + FACTOR_B * low;
                    high = FACTOR_A * high_bf16(both) + FACTOR_B * high;
#endif
                    words[at] = pack_bf16(low, high);
                }
                // A transposition of 4 × 4 words.
                exchange(words[0], words[1], 1);
                exchange(words[2], words[3], 1);
                exchange(words[0], words[2], 2);
                exchange(words[1], words[3], 2);
#if EPILOGUE == ACTIVATE
                store_row(before, of_row, column + piece * 32, words);
#endif
#pragma unroll
                for (int at = 0; at < 4; at++) {
#if EPILOGUE == ACTIVATE
                    words[at] = pack_bf16(activate(low_bf16(words[at])), activate(high_bf16(words[at])));
#elif EPILOGUE == ACTIVATE_BACKWARD
                    unsigned x = given[half][piece][at];
                    words[at] = pack_bf16(low_bf16(words[at]) * slope(low_bf16(x)),
                                          high_bf16(words[at]) * slope(high_bf16(x)));
#endif
                }
                store_row(c, of_row, column + piece * 32, words);
#endif
            }
        }
    }
}
