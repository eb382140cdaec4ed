/*
 * The C# compiler of Windows, for tests under Wine, which has none: passes its options to csc.sh in the same folder,
 * which runs Mono's on Linux. Wine starts such a program, but does not notice when it ends, so csc.sh writes its exit
 * code into a file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static char folder[MAX_PATH];

static char *beside(const char *name)
{
    char *path = malloc(strlen(folder) + strlen(name) + 1);
    return strcat(strcpy(path, folder), name);
}

/* Returns an option whose path, which begins at `from`, is that of the file on Linux. */
static char *on_linux(char *option, size_t from)
{
    typedef char *(CDECL *translate)(const WCHAR *);
    translate get = (translate)(void *)GetProcAddress(GetModuleHandleA("kernel32"), "wine_get_unix_file_name");
    WCHAR wide[MAX_PATH];
    MultiByteToWideChar(CP_ACP, 0, option + from, -1, wide, MAX_PATH);
    char *path = get(wide);
    char *translated = malloc(from + strlen(path) + 1);
    memcpy(translated, option, from);
    return strcpy(translated + from, path) - from;
}

int main(int count, char **options)
{
    GetModuleFileNameA(NULL, folder, sizeof folder);
    strrchr(folder, '\\')[1] = 0;
    char *done = beside("csc.done");
    DeleteFileA(done);

    char command[8192];
    sprintf(command, "\"%s\"", beside("csc.sh"));
    for (int i = 1; i < count; i++) {
        char *option = options[i];
        if (!strncmp(option, "/out:", 5)) option = on_linux(option, 5);
        else if (!strncmp(option, "/reference:", 11)) option = on_linux(option, 11);
        else if (option[0] != '/') option = on_linux(option, 0);
        sprintf(command + strlen(command), " \"%s\"", option);
    }
    STARTUPINFOA start = {.cb = sizeof start};
    PROCESS_INFORMATION process;
    if (!CreateProcessA(NULL, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &process)) return 100;

    int code = 101;
    for (int waited = 0; code == 101 && waited < 120000; waited += 20) {
        Sleep(20);
        FILE *file = fopen(done, "r");
        if (file) {
            fscanf(file, "%d", &code);
            fclose(file);
        }
    }
    FILE *words = fopen(beside("csc.out"), "r");
    for (int c; words && (c = fgetc(words)) != EOF;) putchar(c);
    return code;
}
