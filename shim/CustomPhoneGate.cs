// The assembly that MIM loads. Passes each call to the native PhoneGate library in the same folder.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Compiled on the MIM server against its contract assembly, as C# 3 for CLR 2. MIM uses the first type of the assembly, so
// there is only one, and no construct may be used for which the compiler adds another: lambdas, iterators, anonymous
// types, array initializers of numbers, switches on strings. The native library keeps the state of all calls.
using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Globalization;
using System.IO;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.IdentityManagement.PhoneServiceProvider;

public sealed class CustomPhoneGate : IPhoneServiceProvider
{
    private const string Library = "phonegate.dll"; // Mono reads it as libphonegate.so
    private const uint AbiVersion = 1;
    private const string InstallAgain = " CustomPhoneGate.dll and the library have different versions: run install again.";
    private const int Ok = 0, InvalidArgument = 1, BufferTooSmall = 4;
    private const int MaxMessageBytes = 64 * 1024;

    // Whether this AppDomain has loaded a library with the right version and all functions.
    private static volatile bool ready;

    public PhoneCallStatus InitiateCall(string phoneNumber, Guid requestId, Dictionary<string, object> deliveryAttributes)
    {
        try
        {
            if (EnsureLoaded() != null) return PhoneCallStatus.Failed;
            return Initiate(Utf8(phoneNumber), Utf8(requestId.ToString("D")), Utf8(Json(deliveryAttributes)));
        }
        catch (Exception)
        {
            return PhoneCallStatus.Failed;
        }
    }

    public PhoneCallStatus GetCallStatus(string callId)
    {
        try
        {
            return EnsureLoaded() == null ? QueryStatus(Utf8(callId)) : PhoneCallStatus.Failed;
        }
        catch (Exception)
        {
            return PhoneCallStatus.Failed;
        }
    }

    public string GetFailureMessage(string callId)
    {
        try
        {
            return EnsureLoaded() ?? FailureMessage(Utf8(callId));
        }
        catch (Exception e)
        {
            return "PhoneGate's library could not be called: " + e.Message;
        }
    }

    // A runtime may search for the library as soon as it compiles a method that calls it. The following methods are
    // therefore not inlined, and run only after the library was loaded.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static PhoneCallStatus Initiate(byte[] phoneNumber, byte[] requestId, byte[] deliveryAttributes)
    {
        return MapStatus(NativeInitiateCall(phoneNumber, requestId, deliveryAttributes));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static PhoneCallStatus QueryStatus(byte[] callId)
    {
        return MapStatus(NativeGetCallStatus(callId));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static string FailureMessage(byte[] callId)
    {
        byte[] buffer = new byte[512];
        UIntPtr needed;
        int result = NativeGetFailureMessage(callId, buffer, new UIntPtr((uint)buffer.Length), out needed);
        if (result == BufferTooSmall)
        {
            buffer = new byte[Math.Min(needed.ToUInt64(), MaxMessageBytes)];
            result = NativeGetFailureMessage(callId, buffer, new UIntPtr((uint)buffer.Length), out needed);
        }
        if (result == InvalidArgument) return "The call id is null.";
        if (result != Ok && result != BufferTooSmall) return "PhoneGate cannot explain the failure (result " + result + ").";
        int end = Array.IndexOf(buffer, (byte)0);
        return Encoding.UTF8.GetString(buffer, 0, end < 0 ? buffer.Length : end);
    }

    // By name, because the numbers of MIM's enum are not documented. An unknown status is Failed.
    private static PhoneCallStatus MapStatus(int native)
    {
        switch (native)
        {
            case 0: return PhoneCallStatus.Pending;
            case 1: return PhoneCallStatus.Success;
            default: return PhoneCallStatus.Failed;
        }
    }

    // Encodes as UTF-8 with a final NUL. Ids and numbers are ASCII and hosts poll often, so ASCII takes one pass.
    private static byte[] Utf8(string text)
    {
        if (text == null) return null;
        byte[] bytes = new byte[text.Length + 1];
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c == '\0' || c > '\u007f') return EncodeUtf8(text);
            bytes[i] = (byte)c;
        }
        return bytes;
    }

    // A NUL or an unpaired surrogate becomes the byte FF, which UTF-8 never contains, so that the library rejects the text
    // and logs why. A repaired or shortened text could be another number.
    private static byte[] EncodeUtf8(string text)
    {
        char[] characters = (text + "\0").ToCharArray();
        for (int i = 0; i < text.Length; i++) if (IsUnpairedSurrogate(text, i)) characters[i] = '\0';
        byte[] bytes = Encoding.UTF8.GetBytes(characters);
        for (int i = 0; i < bytes.Length - 1; i++) if (bytes[i] == 0) bytes[i] = 0xFF;
        return bytes;
    }

    // Null if there are no attributes, or the host changes the dictionary meanwhile: attributes never fail a call.
    private static string Json(Dictionary<string, object> attributes)
    {
        if (attributes == null) return null;
        try
        {
            StringBuilder json = new StringBuilder("{");
            foreach (KeyValuePair<string, object> attribute in attributes)
            {
                if (json.Length > 1) json.Append(',');
                AppendQuoted(json, attribute.Key);
                json.Append(':');
                AppendValue(json, attribute.Value);
            }
            return json.Append('}').ToString();
        }
        catch (Exception)
        {
            return null;
        }
    }

    private static void AppendValue(StringBuilder json, object value)
    {
        string text = FormatValue(value);
        TypeCode type = value == null ? TypeCode.Empty : Type.GetTypeCode(value.GetType());
        bool number = type >= TypeCode.SByte && type <= TypeCode.Decimal && !(value is Enum);
        if (text == null) json.Append("null");
        else if (value is bool) json.Append((bool)value ? "true" : "false");
        else if (number && char.IsDigit(text[text.Length - 1])) json.Append(text); // not NaN, not Infinity
        else AppendQuoted(json, text);
    }

    private static string FormatValue(object value)
    {
        if (value == null || value is DBNull) return null;
        string format = value is DateTime || value is DateTimeOffset ? "o" : value is double || value is float ? "R" : null;
        try
        {
            if (format != null) return ((IFormattable)value).ToString(format, CultureInfo.InvariantCulture);
            return Convert.ToString(value, CultureInfo.InvariantCulture);
        }
        catch (Exception) // thrown by a ToString of the host
        {
            return null;
        }
    }

    private static void AppendQuoted(StringBuilder json, string text)
    {
        json.Append('"');
        for (int i = 0; i < text.Length; i++)
        {
            char c = IsUnpairedSurrogate(text, i) ? '\uFFFD' : text[i];
            if (c == '"' || c == '\\') json.Append('\\').Append(c);
            else if (c >= ' ' && c <= '~') json.Append(c);
            else json.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
        }
        json.Append('"');
    }

    private static bool IsUnpairedSurrogate(string text, int at)
    {
        if (!char.IsSurrogate(text[at])) return false;
        return !(char.IsSurrogatePair(text, at) || at > 0 && char.IsSurrogatePair(text, at - 1));
    }

    // Returns null, or why the library cannot be used. Tried again at each call, so that a repaired library works without
    // a restart of MIM.
    private static string EnsureLoaded()
    {
        if (ready) return null;
        string error = Load() ?? CheckCompatibility();
        ready = error == null;
        return error;
    }

    // Loads by absolute path, so that no search path can supply another file. The imports below bind to the loaded one.
    private static string Load()
    {
        bool windows = Path.DirectorySeparatorChar == '\\';
        string tried = "";
        string last = null;
        foreach (string folder in SearchPaths())
        {
            string path = Path.Combine(folder, windows ? Library : "libphonegate.so");
            if (path == last) continue;
            string error = !File.Exists(path) ? "there is no such file; run install again" : windows ? LoadOnWindows(path) : LoadOnUnix(path);
            if (error == null) return null;
            tried += " " + path + ": " + error + ".";
            last = path;
        }
        return "PhoneGate's library cannot be loaded into this " + 8 * IntPtr.Size + "-bit process. Tried" + tried;
    }

    // The folder of the shim, and its original folder if the host loaded a shadow copy. For a shim loaded from memory, the
    // folder of the host's program.
    private static string[] SearchPaths()
    {
        Assembly shim = typeof(CustomPhoneGate).Assembly;
        if (shim.Location.Length == 0) return new string[] { AppDomain.CurrentDomain.BaseDirectory };
        // Newer runtimes do not escape a #, at which the URI's path would end.
        string origin = new Uri(shim.EscapedCodeBase.Replace("#", "%23")).LocalPath;
        return new string[] { Path.GetDirectoryName(shim.Location), Path.GetDirectoryName(origin) };
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static string CheckCompatibility()
    {
        try
        {
            uint version = NativeAbiVersion();
            if (version != AbiVersion)
                return "PhoneGate's library has the ABI version " + version + " and CustomPhoneGate.dll needs version " + AbiVersion + "." + InstallAgain;
            foreach (string import in new string[] { "NativeInitiateCall", "NativeGetCallStatus", "NativeGetFailureMessage" })
                Marshal.Prelink(typeof(CustomPhoneGate).GetMethod(import, BindingFlags.NonPublic | BindingFlags.Static));
            return null;
        }
        catch (EntryPointNotFoundException e)
        {
            return "PhoneGate's library lacks a function: " + e.Message + "." + InstallAgain;
        }
    }

    private static string LoadOnWindows(string path)
    {
        if (LoadLibraryEx(path, IntPtr.Zero, 8) != IntPtr.Zero) return null; // 8: LOAD_WITH_ALTERED_SEARCH_PATH
        int error = Marshal.GetLastWin32Error();
        if (error == 193) return "it is damaged, or for processes that are not " + 8 * IntPtr.Size + "-bit"; // ERROR_BAD_EXE_FORMAT
        return new Win32Exception(error).Message + " (error " + error + ")";
    }

    private static string LoadOnUnix(string path)
    {
        dlerror();
        if (dlopen(Utf8(path), 2) != IntPtr.Zero) return null; // 2: RTLD_NOW
        return Marshal.PtrToStringAnsi(dlerror()) ?? "dlopen failed without a reason";
    }

    [DllImport(Library, EntryPoint = "PhoneGateAbiVersion", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern uint NativeAbiVersion();

    [DllImport(Library, EntryPoint = "InitiateCall", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern int NativeInitiateCall(byte[] phoneNumber, byte[] requestId, byte[] deliveryAttributes);

    [DllImport(Library, EntryPoint = "GetCallStatus", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern int NativeGetCallStatus(byte[] callId);

    [DllImport(Library, EntryPoint = "GetFailureMessage", CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]
    private static extern int NativeGetFailureMessage(byte[] callId, byte[] buffer, UIntPtr capacity, out UIntPtr needed);

    [DllImport("kernel32.dll", EntryPoint = "LoadLibraryExW", CharSet = CharSet.Unicode, SetLastError = true, ExactSpelling = true)]
    private static extern IntPtr LoadLibraryEx(string path, IntPtr reserved, uint flags);

    [DllImport("libdl.so.2", CallingConvention = CallingConvention.Cdecl)]
    private static extern IntPtr dlopen(byte[] path, int flags);

    [DllImport("libdl.so.2", CallingConvention = CallingConvention.Cdecl)]
    private static extern IntPtr dlerror();
}
