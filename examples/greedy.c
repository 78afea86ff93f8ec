/* Greedy matching as a program: row i takes the best column that is still free.
 *
 *   cc -O2 -std=c99 -o greedy greedy.c
 *   ./greedy problem.npy answer.npy
 *
 * problem.npy holds the affinity, (S, S), float32 or float64, C order; answer.npy gets the permutation, (S,), int64.
 * Both are files of NumPy: six bytes, two of the version, the length of the header, a Python dict as text, then the numbers.
 * A little-endian machine is assumed, as in the header that is written.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void fail(const char *why)
{
    fprintf(stderr, "greedy: %s\n", why);
    exit(1);
}

/* Read a square matrix as doubles; *size is set to S. */
static double *read_affinity(const char *path, size_t *size)
{
    unsigned char start[12];
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0)
        fail("the problem is no .npy file");
    size_t length = start[8] | (size_t)start[9] << 8; /* version 1: two bytes */
    if (start[6] > 1) {
        if (fread(start + 10, 1, 2, file) != 2)
            fail("the header is cut short");
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    char *header = malloc(length + 1);
    if (!header || fread(header, 1, length, file) != length)
        fail("the header is cut short");
    header[length] = '\0';
    /* The type decides how the bytes are read: never take it for granted. */
    int wide = strstr(header, "'<f8'") != NULL;
    if (!wide && !strstr(header, "'<f4'"))
        fail("the affinity is neither float32 nor float64");
    if (!strstr(header, "'fortran_order': False"))
        fail("the affinity is not in C order");
    unsigned long long rows, columns;
    const char *shape = strstr(header, "'shape': (");
    if (!shape || sscanf(shape, "'shape': (%llu, %llu)", &rows, &columns) != 2 || rows != columns)
        fail("the affinity is not square");
    free(header);

    size_t count = (size_t)rows * (size_t)rows, width = wide ? sizeof(double) : sizeof(float);
    double *affinity = malloc(count * sizeof(double) + 1);
    void *raw = malloc(count * width + 1);
    if (!affinity || !raw)
        fail("out of memory");
    if (fread(raw, width, count, file) != count)
        fail("the numbers are cut short");
    for (size_t i = 0; i < count; i++)
        affinity[i] = wide ? ((double *)raw)[i] : ((float *)raw)[i];
    free(raw);
    fclose(file);
    *size = (size_t)rows;
    return affinity;
}

static void write_permutation(const char *path, const int64_t *perm, size_t size)
{
    char header[128];
    /* Ten bytes and the header fill 128, the rest with blanks and one line break. */
    int used = snprintf(header, 118, "{'descr': '<i8', 'fortran_order': False, 'shape': (%llu,), }", (unsigned long long)size);
    memset(header + used, ' ', (size_t)(118 - used));
    header[117] = '\n';
    FILE *file = fopen(path, "wb");
    if (!file || fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file) != 10 || fwrite(header, 1, 118, file) != 118 ||
        fwrite(perm, sizeof(int64_t), size, file) != size || fclose(file) != 0)
        fail("the answer cannot be written");
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage: greedy problem.npy answer.npy");
    size_t size;
    double *affinity = read_affinity(argv[1], &size);
    int64_t *perm = malloc(size * sizeof(int64_t) + 1);
    char *taken = calloc(size + 1, 1);
    if (!perm || !taken)
        fail("out of memory");

    clock_t begun = clock();
    for (size_t i = 0; i < size; i++) {
        const double *row = affinity + i * size;
        size_t best = size;
        for (size_t j = 0; j < size; j++)
            if (!taken[j] && (best == size || row[j] > row[best]))
                best = j;
        taken[best] = 1;
        perm[i] = (int64_t)best;
    }
    /* Its own word for the time, without reading and writing: a column apart in the table. */
    printf("seconds %.9f\n", (double)(clock() - begun) / CLOCKS_PER_SEC);
    write_permutation(argv[2], perm, size);
    return 0;
}
