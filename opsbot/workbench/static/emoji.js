// Emoji names this page can draw; an unknown name stays as `:name:`.

const TABLE = `
white_check_mark ✅|heavy_check_mark ✔️|ballot_box_with_check ☑️|x ❌|negative_squared_cross_mark ❎|warning ⚠️|no_entry ⛔
no_entry_sign 🚫|octagonal_sign 🛑|question ❓|grey_question ❔|exclamation ❗|bangbang ‼️|information_source ℹ️|bulb 💡
rocket 🚀|robot_face 🤖|eyes 👀|tada 🎉|fire 🔥|zap ⚡|boom 💥|sparkles ✨|star ⭐|hourglass ⌛|hourglass_flowing_sand ⏳
stopwatch ⏱️|timer_clock ⏲️|alarm_clock ⏰|clock1 🕐|arrows_counterclockwise 🔄|arrows_clockwise 🔃|repeat 🔁|recycle ♻️
gear ⚙️|wrench 🔧|hammer 🔨|hammer_and_wrench 🛠️|nut_and_bolt 🔩|computer 💻|desktop_computer 🖥️|floppy_disk 💾|cd 💿
file_folder 📁|open_file_folder 📂|page_facing_up 📄|clipboard 📋|memo 📝|pencil 📝|pencil2 ✏️|mag 🔍|mag_right 🔎|lock 🔒
unlock 🔓|closed_lock_with_key 🔐|key 🔑|shield 🛡️|bell 🔔|no_bell 🔕|loudspeaker 📢|mega 📣|speech_balloon 💬
thought_balloon 💭|satellite 🛰️|signal_strength 📶|electric_plug 🔌|battery 🔋|chart_with_upwards_trend 📈
chart_with_downwards_trend 📉|bar_chart 📊|thermometer 🌡️|green_circle 🟢|large_green_circle 🟢|red_circle 🔴|yellow_circle 🟡
large_yellow_circle 🟡|large_orange_circle 🟠|orange_circle 🟠|large_blue_circle 🔵|blue_circle 🔵|white_circle ⚪|black_circle ⚫
large_green_square 🟩|large_red_square 🟥|red_square 🟥|green_heart 💚|heart ❤️|yellow_heart 💛|blue_heart 💙|thumbsup 👍|+1 👍
thumbsdown 👎|-1 👎|ok_hand 👌|wave 👋|clap 👏|pray 🙏|raised_hands 🙌|muscle 💪|point_right 👉|point_left 👈|point_up ☝️
point_down 👇|smile 😄|smiley 😃|grinning 😀|slightly_smiling_face 🙂|wink 😉|joy 😂|thinking_face 🤔|sweat_smile 😅|cry 😢
sob 😭|scream 😱|sunglasses 😎|neutral_face 😐|confused 😕|disappointed 😞|rotating_light 🚨|construction 🚧|ambulance 🚑
fire_engine 🚒|package 📦|link 🔗|pushpin 📌|paperclip 📎|calendar 📆|date 📅|inbox_tray 📥|outbox_tray 📤|email ✉️|phone ☎️
snowflake ❄️|ice_cube 🧊|sunny ☀️|cloud ☁️|umbrella ☔|dog 🐶|cat 🐱|bug 🐛|ghost 👻|skull 💀|100 💯|arrow_up ⬆️|arrow_down ⬇️
arrow_right ➡️|arrow_left ⬅️|arrow_forward ▶️|double_vertical_bar ⏸️|black_square_for_stop ⏹️|heavy_minus_sign ➖|heavy_plus_sign ➕
one 1️⃣|two 2️⃣|three 3️⃣|four 4️⃣|five 5️⃣|scroll 📜|books 📚|book 📖|label 🏷️|bookmark 🔖|test_tube 🧪|microscope 🔬|anchor ⚓|globe_with_meridians 🌐`;

const EMOJI = new Map(TABLE.trim().split(/[|\n]/).map((pair) => {
  const cut = pair.lastIndexOf(" ");
  return [pair.slice(0, cut), pair.slice(cut + 1)];
}));

/** The names offered when somebody reacts to a message. */
export const QUICK_REACTIONS = ["+1", "eyes", "white_check_mark", "tada", "x", "heart"];

/** Return the character of an emoji name, or `:name:` when the page does not know it. */
export function emoji(name) {
  const plain = String(name).split("::")[0];
  return EMOJI.get(plain) ?? `:${name}:`;
}

/** Replace `:name:` in plain text. */
export function withEmoji(text) {
  return String(text).replace(/:([a-z0-9_+'-]{1,60}):/g, (whole, name) => EMOJI.get(name) ?? whole);
}
