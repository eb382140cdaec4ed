/*
 * Prints the texts of events as the Event Viewer finds them: in the message table of a library that is loaded as data.
 *
 *     event_words LIBRARY ID...
 *
 * One line for each id, with "first" and "second" in the place of its insertions.
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    char first[] = "first", second[] = "second";
    DWORD_PTR insertions[] = {(DWORD_PTR)first, (DWORD_PTR)second};
    HMODULE library;
    int i;

    if (argc < 3) return 2;
    library = LoadLibraryExA(argv[1], NULL, LOAD_LIBRARY_AS_DATAFILE);
    if (library == NULL) {
        fprintf(stderr, "%s: error %lu\n", argv[1], GetLastError());
        return 1;
    }
    for (i = 2; i < argc; i++) {
        char words[2048];
        DWORD id = (DWORD)strtoul(argv[i], NULL, 10), length, at;
        length = FormatMessageA(FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_ARGUMENT_ARRAY, library, id, 0, words,
                                sizeof words, (va_list *)insertions);
        if (length == 0) {
            fprintf(stderr, "%lu: error %lu\n", id, GetLastError());
            return 1;
        }
        for (at = 0; at < length; at++) putchar(words[at] == '\r' || words[at] == '\n' ? ' ' : words[at]);
        putchar('\n');
    }
    return 0;
}
