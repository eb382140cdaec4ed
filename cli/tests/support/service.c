/*
 * MIM's service, for tests under Wine: starts, loads PhoneGate's native library if MfaSettings.xml names a provider,
 * and stops on request. It writes a line about each step into service.log in its folder. If that folder has a file
 * broken.txt, it ends instead of starting.
 */
#include <stdio.h>
#include <string.h>
#include <windows.h>

static char folder[MAX_PATH];
static SERVICE_STATUS_HANDLE handle;
static HANDLE stopping;

static char *path_in_folder(const char *name)
{
    static char path[2 * MAX_PATH];
    return strcat(strcpy(path, folder), name);
}

static void note(const char *line)
{
    FILE *file = fopen(path_in_folder("service.log"), "a");
    fprintf(file, "%s\n", line);
    fclose(file);
}

static int names_provider(void)
{
    char settings[4096] = "";
    FILE *file = fopen(path_in_folder("MfaSettings.xml"), "rb");
    fread(settings, 1, sizeof settings - 1, file);
    fclose(file);
    return strstr(settings, "CustomPhoneProvider") != NULL;
}

static void report_state(DWORD state)
{
    SERVICE_STATUS status = {SERVICE_WIN32_OWN_PROCESS, state, SERVICE_ACCEPT_STOP, 0, 0, 0, 30000};
    SetServiceStatus(handle, &status);
}

static DWORD WINAPI control(DWORD code, DWORD type, void *data, void *context)
{
    (void)type, (void)data, (void)context;
    if (code == SERVICE_CONTROL_STOP) {
        report_state(SERVICE_STOP_PENDING);
        SetEvent(stopping);
    }
    return NO_ERROR;
}

static void WINAPI run(DWORD count, WCHAR **arguments)
{
    (void)count, (void)arguments;
    handle = RegisterServiceCtrlHandlerExW(L"FIMService", control, NULL);
    report_state(SERVICE_START_PENDING);
    if (GetFileAttributesA(path_in_folder("broken.txt")) != INVALID_FILE_ATTRIBUTES) {
        report_state(SERVICE_STOPPED);
        return;
    }
    note(names_provider() && LoadLibraryA(path_in_folder("phonegate.dll")) ? "started with PhoneGate" : "started");
    report_state(SERVICE_RUNNING);
    WaitForSingleObject(stopping, INFINITE);
    note("stopped");
    report_state(SERVICE_STOPPED);
}

int main(void)
{
    GetModuleFileNameA(NULL, folder, sizeof folder);
    strrchr(folder, '\\')[1] = 0;
    stopping = CreateEventW(NULL, TRUE, FALSE, NULL);
    SERVICE_TABLE_ENTRYW table[] = {{(WCHAR *)L"FIMService", run}, {NULL, NULL}};
    return !StartServiceCtrlDispatcherW(table);
}
